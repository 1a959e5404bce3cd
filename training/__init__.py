"""The jobs that turn events and products into artifacts. Nothing that serves imports this room."""
