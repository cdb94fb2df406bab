"""Artifacts in object storage, on a real server of its protocol; no secret leaves the environment."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from attempts import Scene, trial_config
from s3_server import S3Server, use_keys
from store_contract import StoreContract
from sweeps.artifact_store import StoreError, StoreFull, open_store, store_url
from sweeps.s3_store import S3Store
from sweeps.s3_url import S3Url
from vae_models.data import load_data
from vae_models.data_config import DataConfig


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server.running() as running:
        yield running


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch)


class TestS3Store(StoreContract):
    @pytest.fixture
    def store(self, server: S3Server, tmp_path: Path) -> S3Store:
        return S3Store(server.url(f"tests/{tmp_path.name}"))


def test_the_server_and_the_region_may_stand_in_the_environment(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(monkeypatch, AWS_ENDPOINT_URL=server.endpoint, AWS_REGION="eu-central-1")
    store = open_store("s3://sweeps/environment")
    store.put("file", b"here")
    assert open_store(server.url("environment")).get("file") == b"here"
    assert store.url == "s3://sweeps/environment"


def test_the_server_in_the_url_wins_over_those_in_the_environment(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = "http://127.0.0.1:9"
    use_keys(monkeypatch, AWS_ENDPOINT_URL=nobody, AWS_ENDPOINT_URL_S3=nobody)
    open_store(server.url("wins")).check()


def test_other_tools_find_the_objects_under_bucket_and_prefix(server: S3Server) -> None:
    open_store(server.url("a prefix/of mine")).put("study/file", b"content")
    client = pytest.importorskip("boto3").client("s3", endpoint_url=server.endpoint)
    found = client.get_object(Bucket="sweeps", Key="a prefix/of mine/study/file")
    assert found["Body"].read() == b"content"


def test_a_bucket_that_does_not_exist_is_named(server: S3Server) -> None:
    store = open_store(server.url("x", bucket="swepes"))
    uses = (store.check, store.keys, lambda: store.get("file"), lambda: store.delete("file"))
    for use in uses:
        with pytest.raises(
            StoreError, match=r"The bucket 'swepes' must exist .*, but it does not"
        ):
            use()


def test_credentials_that_the_server_refuses_are_reported_without_them(server: S3Server) -> None:
    store = open_store(server.url("refused"))
    with server.asking_for_keys(), pytest.raises(StoreError, match="must allow to write") as error:
        store.check()
    assert "refused them (InvalidAccessKeyId); check AWS_ACCESS_KEY_ID" in str(error.value)
    assert "somebody" not in str(error.value)
    assert "secret of" not in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_credentials_are_reported_with_where_to_put_them(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(monkeypatch, AWS_METADATA_ENDPOINT="http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(server.url("nobody"))
    with pytest.raises(StoreError, match="must stand in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS"):
        store.check()


def test_a_server_that_does_not_answer_is_named() -> None:
    store = open_store("s3://sweeps/x?endpoint=http://127.0.0.1:9")
    with pytest.raises(
        StoreError, match=r"endpoint=http://127.0.0.1:9 must answer to write .*but:"
    ):
        store.check()


class _FullServer(BaseHTTPRequestHandler):
    """Answers every write as MinIO does on a full disk."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"<Error><Code>XMinioStorageFull</Code><Message>full</Message></Error>"
        self.send_response(507)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def full_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _FullServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_full_server_is_told_apart_from_a_broken_one(full_server: str) -> None:
    store = open_store(f"s3://sweeps/x?endpoint={full_server}")
    with pytest.raises(
        StoreFull, match=r"room to write file \(3 bytes\), but it is full \(XMinio"
    ):
        store.put("file", b"abc")


def test_without_the_extra_the_way_to_install_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StoreError, match=r"pip install 'rdsweep\[s3\]'"):
        open_store("s3://sweeps/x")


@pytest.mark.parametrize(
    "url",
    [
        "s3://somebody:secret@sweeps/x",
        "s3://sweeps/x?access_key_id=secret",
        "s3://sweeps/x?region=r&AWS_SECRET_ACCESS_KEY=secret",
        "s3://sweeps/x?endpoint=http://somebody:secret@host:9000",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    for use in (store_url, open_store):
        with pytest.raises(StoreError, match="must hold no credentials") as error:
            use(url)
        assert "=secret" not in str(error.value)
        assert "somebody" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s3:///x", "got the bucket ''"),
        ("s3://host:9000/bucket", "got the bucket 'host:9000'"),
        ("s3://sweeps/x?regoin=eu", r"got the parameter 'regoin'; did you mean 'region'\?$"),
        ("s3://sweeps/x?endpoint=localhost:9000", r"got the endpoint 'localhost:9000'\.$"),
        ("s3://sweeps/x#y", "got a # in it"),
        ("s3://sweeps/x/../y", "A key must be a relative path"),
    ],
)
def test_a_url_with_a_mistake_gets_one_line(url: str, problem: str) -> None:
    with pytest.raises(StoreError, match=problem):
        store_url(url)


def test_a_url_is_stored_in_one_spelling() -> None:
    url = "s3://sweeps/a%20b/?region=eu&endpoint=http%3A%2F%2Fhost%3A9000"
    assert store_url(url) == "s3://sweeps/a%20b?endpoint=http://host:9000&region=eu"
    assert S3Url.of(store_url(url)) == S3Url.of(url)
    assert store_url("s3://sweeps/") == store_url("s3://sweeps") == "s3://sweeps"


def test_a_trial_goes_on_elsewhere_through_object_storage_bit_for_bit(
    server: S3Server, tmp_path: Path
) -> None:
    digits, config = load_data(DataConfig(name="digits")), trial_config(4)
    undisturbed = Scene.of(tmp_path / "undisturbed", digits, config)
    undisturbed.attempt().run()
    scene = Scene.of(tmp_path / "disturbed", digits, config)
    scene.store = open_store(server.url("takeover"))
    scene.one_epoch()
    scene.one_epoch()
    assert scene.names == [
        "checkpoint-000001-001.safetensors",
        "checkpoint-000002-002.safetensors",
    ]
    torn = scene.store.get(scene.key("checkpoint-000002-002.safetensors"))[:-5]
    scene.store.put(scene.key("checkpoint-000002-002.safetensors"), torn)
    scene.attempt().run()
    assert scene.trained_by() == {1: 1, 2: 3, 3: 3, 4: 3}
    assert scene.names == ["model-003.safetensors"]
    assert scene.outcome() == undisturbed.outcome()


def test_a_trial_whose_server_went_away_is_left_to_be_continued(tmp_path: Path) -> None:
    digits = load_data(DataConfig(name="digits"))
    scene = Scene.of(tmp_path / "scene", digits, trial_config(2))
    with S3Server.running() as short_lived:
        scene.store = open_store(short_lived.url("gone"))
        scene.one_epoch()
    with pytest.raises(StoreError, match=r"must answer .* Trial 0 can be continued once"):
        scene.attempt(patience_seconds=0.1).run()
    assert scene.trial.state == "queued"
    assert scene.deaths() == 0
