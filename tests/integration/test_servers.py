"""The private servers of the tests themselves."""

from __future__ import annotations

import psycopg
import redis
import sqlalchemy as sa


def test_each_test_gets_an_empty_database(postgresql_url: str) -> None:
    """The database is new, and the driver is the one that the product uses."""
    engine = sa.create_engine(postgresql_url)
    with engine.connect() as connection:
        assert engine.driver == "psycopg"
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()


def test_the_server_stores_utf8(postgresql_url: str) -> None:
    """As production servers do; names of audiences are not ASCII."""
    url = sa.make_url(postgresql_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        assert connection.info.parameter_status("server_encoding") == "UTF8"


def test_redis_is_empty_and_answers(redis_url: str) -> None:
    """Nothing is left from a test before."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_redis_is_empty_again(redis_url: str) -> None:
    """Not even from the one just before."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
