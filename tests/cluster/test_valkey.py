from __future__ import annotations

import redis

from tests.servers import Servers


class TestValkeyServer:
    def test_it_answers_on_its_socket(self, servers: Servers) -> None:
        with redis.Redis.from_url(servers.redis_url) as client:
            assert client.ping()

    def test_no_tcp_port_is_opened(self, servers: Servers) -> None:
        with redis.Redis.from_url(servers.redis_url) as client:
            assert client.config_get("port") == {"port": "0"}
