"""A shop of four films in memory, whose searches look at titles and can be held back."""

from __future__ import annotations

import asyncio
import threading

from catalogue.products import BatchProduct
from contracts.answers import Answer
from contracts.deadline import Deadline
from contracts.requests import SearchRequest
from tests.deployments.memory_shop import MemoryShop

MARKUP = "<img src=x onerror=document.title='owned'><b>Bold</b> & <script>1</script>"


class FilmShop(MemoryShop):
    """Searches find the films whose title holds the query; one for *held_query* waits until ``held`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.held_query: str | None = None
        self.held = threading.Event()
        self._films = {
            "1": BatchProduct(id="1", title="Alien", category="Horror", attributes={"genres": ["Horror", "Sci-Fi"]}),
            "2": BatchProduct(id="2", title="Aliens", category="Action", price=12.5, currency="EUR"),
            "3": BatchProduct(id="3", title="Apollo 13", category="Drama"),
            "4": BatchProduct(id="4", title=f"Markup {MARKUP}", category="<i>Odd</i>", brand="<u>Brand</u>"),
        }
        self.products = dict(self._films)

    async def search(self, request: SearchRequest, *, offset: int, deadline: Deadline) -> Answer:
        """Return the films whose title holds the query."""
        if request.q == self.held_query:
            await asyncio.to_thread(self.held.wait, 30)
        self.products = {id_: film for id_, film in self._films.items() if request.q.lower() in film.title.lower()}
        answer = await super().search(request, offset=offset, deadline=deadline)
        self.products = dict(self._films)
        return answer
