-- name: beat
-- Moves the heartbeat unless another process did so within the last 0.9 seconds.
update heartbeat set beat_at = clock_timestamp()
where id = 1 and beat_at < clock_timestamp() - interval '0.9 seconds';

-- name: last_beat
-- beat_at, the newest heartbeat this server has seen.
select beat_at from heartbeat where id = 1;
