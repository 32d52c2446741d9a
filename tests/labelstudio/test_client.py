"""The client against a real server: what it reads back, and where the server fails, the state of one clean run."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from annotator.errors import AnnotatorError, InputError, MissingError, StorageError
from annotator.labelstudio import server
from annotator.labelstudio.client import Client
from annotator.labelstudio.retrying import Pauses
from tests.labelstudio.faults import Fault, Proxy

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <KeyPointLabels name="keypoint" toName="image"><Label value="nose"/></KeyPointLabels>
</View>"""
TITLES = itertools.count(1)
IMPORT, MAKE = r"^POST /api/projects/\d+/import", r"^POST /api/projects/$"


def _title() -> str:
    return f"client test {next(TITLES)}"


def _tasks(n: int, x: float = 100 / 3) -> list[dict]:
    region = {
        "id": "one", "type": "keypointlabels", "from_name": "keypoint", "to_name": "image", "original_width": 640,
        "original_height": 480, "value": {"x": x, "y": 0.1 + 0.2, "width": 0.5, "keypointlabels": ["nose"]},
    }  # fmt: skip
    prediction = {"model_version": "test", "score": 0.123456789012345678, "result": [region]}
    return [{"data": {"image": f"/{i}.jpg", "key": f"key {i}"}, "predictions": [prediction]} for i in range(n)]


def _submit(client: Client, task: int, **fields: object) -> dict:
    return client.request("POST", f"api/tasks/{task}/annotations/", {"result": [], **fields})


def _keys(client: Client, project: int) -> list[str]:
    return [key for key, _ in client.keys_of(project)]


@pytest.fixture
def project(client) -> int:
    return client.find_or_make_project(_title(), CONFIG).id


@pytest.fixture
def through(label_home):
    """A client that reaches the server through a proxy with these faults; the pauses it makes; the proxy."""
    opened = []

    def make(*faults: Fault, **pauses: float) -> tuple[Client, list[float], Proxy]:
        running = server.find(label_home)
        proxy = Proxy(running.url, faults).__enter__()
        slept: list[float] = []
        made = Client(proxy.url, server.token(label_home), Pauses(sleep=slept.append, **pauses))
        opened.append((made, proxy))
        return made, slept, proxy

    yield make
    for made, proxy in opened:
        made.close()
        proxy.__exit__()


def test_the_token_belongs_to_the_reviewer_that_the_server_was_started_with(client):
    assert client.whoami() == server.EMAIL
    assert server.EMAIL in client.users().values()


def test_a_project_is_made_once_and_keeps_its_configuration(client):
    title = _title()
    assert client.find_project(title) is None
    made = client.find_or_make_project(title, CONFIG, maximum_annotations=2)
    found = client.find_or_make_project(title, CONFIG.replace("nose", "left_eye"))
    assert (made.made, found.made, found.id) == (True, False, made.id)
    assert made.config == found.config == client.config_of(made.id) == CONFIG
    assert client.find_project(title.upper()) is None
    assert client.request("GET", f"api/projects/{made.id}/")["maximum_annotations"] == 2


def test_of_two_projects_of_one_title_the_first_is_found(client):
    title = _title()
    first, second = (client.request("POST", "api/projects/", {"title": title, "label_config": CONFIG}) for _ in "ab")
    assert first["id"] < second["id"]
    assert client.find_project(title).id == first["id"]


@pytest.mark.parametrize("page", [1, 3, 5, 100])
def test_tasks_come_once_each_whatever_the_page(client, project, page):
    client.import_tasks(project, _tasks(6))
    got = list(client.tasks_of(project, page=page))
    assert [task["data"]["key"] for task in got] == [f"key {i}" for i in range(6)]
    assert [set(task) for task in got] == [{"id", "data"}] * 6
    assert _keys(client, project) == [f"key {i}" for i in range(6)]


def test_predictions_come_back_to_the_last_bit(client, project):
    sent = _tasks(1, x=33.333333333333336 + 2**-47)
    client.import_tasks(project, sent)
    (task,) = client.tasks_of(project, ("predictions",))
    assert task["predictions"][0]["result"] == sent[0]["predictions"][0]["result"]
    assert task["predictions"][0]["score"] == sent[0]["predictions"][0]["score"]


def test_a_batch_with_one_bad_task_is_refused_whole(client, project):
    bad = _tasks(3)
    del bad[1]["data"]["image"]  # which the configuration asks for
    with pytest.raises(InputError, match=r"import of 3 tasks, got 400: .*image"):
        client.import_tasks(project, bad)
    assert _keys(client, project) == []


def test_only_submitted_annotations_are_read_and_only_those_since(client, project):
    client.import_tasks(project, _tasks(4))
    ids = [task for _, task in client.keys_of(project)]
    submitted = _submit(client, ids[2], lead_time=3.5)
    _submit(client, ids[1], was_cancelled=True)
    client.request("POST", f"api/tasks/{ids[0]}/drafts", {"result": [], "lead_time": 1.0})

    (task,) = client.annotations_since(project)
    (annotation,) = task["annotations"]
    assert (task["id"], task["data"]["key"]) == (ids[2], "key 2")
    assert (annotation["id"], annotation["lead_time"], annotation["result"]) == (submitted["id"], 3.5, [])
    assert client.users()[annotation["completed_by"]] == server.EMAIL
    assert [found["id"] for found in client.annotations_since(project, task["updated_at"])] == [ids[2]]
    assert list(client.annotations_since(project, "2999-01-01T00:00:00Z")) == []


def test_a_task_that_is_deleted_twice_is_gone(client, project):
    client.import_tasks(project, _tasks(2))
    (_, first), _second = client.keys_of(project)
    client.delete_task(first)
    client.delete_task(first)
    assert _keys(client, project) == ["key 1"]


def _fetch(client: Client, label_home: Path, address: str) -> bytes | int:
    headers = {"Authorization": f"Token {server.token(label_home)}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(client.url + address, headers=headers)) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_two_folders_of_pictures_are_served_and_nothing_beside_them(client, project, label_home, tmp_path):
    for name in ("a set", "b"):
        (tmp_path / name / "deep er").mkdir(parents=True)
        (tmp_path / name / "deep er" / "1 ü.jpg").write_bytes(name.encode())
        (tmp_path / name / "2.jpg").write_bytes(b"2" + name.encode())
    (tmp_path / "b-secret").mkdir()
    (tmp_path / "b-secret" / "2.jpg").write_bytes(b"secret")
    first, second = (server.pictures(label_home, tmp_path / name) for name in ("a set", "b"))
    assert server.pictures(label_home, tmp_path / "b") == second != first

    assert _fetch(client, label_home, second.address("2.jpg")) == 404  # no project shows it yet
    assert [client.add_storage_local(project, one.storage) for one in (first, second, first)] == [True, True, False]
    assert _fetch(client, label_home, first.address("deep er/1 ü.jpg")) == b"a set"
    assert _fetch(client, label_home, second.address("2.jpg")) == b"2b"
    assert _fetch(client, label_home, second.prefix + "../b-secret/2.jpg") == 404
    with pytest.raises(InputError, match="400"):  # the document root has links alone, and this is none of them
        client.add_storage_local(project, str(tmp_path / "b-secret"))


def test_a_folder_of_pictures_must_be_there(label_home, tmp_path):
    with pytest.raises(InputError, match="expected a folder of pictures, got none"):
        server.pictures(label_home, tmp_path / "nowhere")


def test_a_personal_access_token_opens_the_server_as_well(client, personal_token):
    with Client(client.url, personal_token) as personal:
        assert personal.whoami() == server.EMAIL
        assert repr(personal) == f"Client({client.url!r})"


# An expired personal token: a JWT without a signature, {"exp": 1, "token_type": "refresh"}.
EXPIRED = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEsInRva2VuX3R5cGUiOiJyZWZyZXNoIn0.c2lnbmF0dXJl"
# The same with exp = 2^33, in the year 2242: its signature is wrong.
FORGED = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjg1ODk5MzQ1OTIsInRva2VuX3R5cGUiOiJyZWZyZXNoIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize("token", ["0" * 40, EXPIRED, FORGED], ids=["unknown", "expired", "forged"])
def test_a_token_that_opens_nothing_says_where_to_get_one(client, token):
    says = r"got 401.*Account & Settings.*ANNOTATOR_LABEL_TOKEN"
    with pytest.raises(MissingError, match=says) as caught, Client(client.url, token) as nobody:
        nobody.whoami()
    assert token not in str(caught.value)


# name: faults, pauses that must be made. Each is over before the fifth attempt.
PASSING = {
    "busy, says for how long": ([Fault(status=429, headers={"Retry-After": "7"})], [7.0]),
    "busy, says too long": ([Fault(status=503, headers={"Retry-After": "86400"})], [60.0]),
    "broken": ([Fault(status=500)], [0.5]),
    "broken, more than once": ([Fault(status=502, times=3)], [0.5, 1.0, 2.0]),
    "resets the connection": ([Fault()], [0.5]),
    "broken, but it was done": ([Fault(status=500, after=True)], [0.5]),
    "resets the connection, but it was done": ([Fault(after=True)], [0.5]),
    "broken, then the look at what was done is, too": (
        [Fault(status=500, after=True), Fault("GET /api/tasks", status=500)],
        [0.5, 0.5],
    ),
}


@pytest.mark.parametrize("name", PASSING)
def test_an_import_through_faults_ends_as_one_clean_run(client, project, through, name):
    faults, pauses = PASSING[name]
    first = [Fault(**{**vars(fault), "match": fault.match or IMPORT}) for fault in faults]
    faulty, slept, _ = through(*first)
    faulty.import_tasks(project, _tasks(3))
    assert _keys(client, project) == ["key 0", "key 1", "key 2"]
    assert slept == pauses


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("status", [0, 500], ids=["reset", "500"])
def test_a_project_whose_answer_was_lost_is_made_once(client, through, status, after):
    title = _title()
    faulty, _, _ = through(Fault(MAKE, status=status, after=after))
    project = faulty.find_or_make_project(title, CONFIG)
    listed = client.request("GET", "api/projects/", params={"title": title})["results"]
    assert [row["id"] for row in listed] == [project.id]


def test_a_slow_server_is_waited_for_and_asked_again(client, project, through):
    faulty, slept, proxy = through(Fault(IMPORT, status=200, slow=1.0), answer=30.0, batch=0.3)
    faulty.import_tasks(project, _tasks(2))
    assert _keys(client, project) == ["key 0", "key 1"]
    assert slept == [0.5]
    assert len([line for line in proxy.seen if "/import" in line]) == 1  # the second look found them there


@pytest.mark.parametrize(
    ("fault", "error", "code", "says", "calls"),
    [
        (Fault(status=500, times=99), StorageError, 4, "got 500: as the test wants it .5 attempts.*same command", 5),
        (Fault(status=429, times=99), StorageError, 4, "got 429", 5),
        (Fault(times=99), StorageError, 4, "5 attempts", 5),
        (Fault(status=401, times=99), MissingError, 3, "got 401.*ANNOTATOR_LABEL_TOKEN", 1),
        (Fault(status=403, times=99), MissingError, 3, "got 403.*ANNOTATOR_LABEL_TOKEN", 1),
        (Fault(status=404, times=99), InputError, 1, "got 404", 1),
        (Fault(status=200, times=99), None, 0, "", 1),
        (Fault(status=299, times=99, body=b"<html>hello</html>"), InputError, 1, "not Label Studio's", 1),
    ],
    ids=["500", "429", "reset", "401", "403", "404", "nothing wrong", "another server"],
)
def test_a_fault_that_stays_ends_in_one_line_after_a_bounded_number_of_calls(through, fault, error, code, says, calls):
    faulty, slept, proxy = through(fault)
    if error is None:
        assert faulty.whoami() == server.EMAIL
    else:
        with pytest.raises(error, match=says) as caught:
            faulty.whoami()
        assert isinstance(caught.value, AnnotatorError) and caught.value.exit_code == code
        assert "\n" not in str(caught.value) and str(caught.value).startswith(proxy.url)
        # The SDK's errors carry the session's cookie.
        assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert (len(proxy.seen), len(slept)) == (calls, calls - 1)


def test_a_server_that_is_down_is_missing(label_home):
    slept: list[float] = []
    with Proxy("http://127.0.0.1:9") as proxy:
        closed = proxy.url
    says = r"expected a Label Studio server, got .*refused.*annotator label up"
    with Client(closed, "0" * 40, Pauses(sleep=slept.append)) as faulty, pytest.raises(MissingError, match=says):
        faulty.whoami()
    assert slept == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("status", [500, 0], ids=["500", "reset"])
def test_a_call_that_must_not_be_doubled_is_repeated_only_where_it_was_refused(through, project, status):
    faulty, _, proxy = through(Fault(MAKE, status=status))
    with pytest.raises(StorageError):
        faulty.request("POST", "api/projects/", {"title": _title()})
    assert len(proxy.seen) == 1
    faulty, slept, proxy = through(Fault(MAKE, status=429, headers={"Retry-After": "2"}))
    assert faulty.request("POST", "api/projects/", {"title": _title()})["id"] > project
    assert slept == [2.0] and len(proxy.seen) == 2


def test_a_personal_token_is_exchanged_again_after_a_fault(personal_token, through):
    _, _, proxy = through(Fault("/api/token/refresh", status=502, body=b"<html>busy</html>"))
    with Client(proxy.url, personal_token, Pauses(sleep=lambda _: None)) as personal:
        assert personal.whoami() == server.EMAIL
    assert [line.split("?")[0] for line in proxy.seen].count("POST /api/token/refresh/") == 2


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "nonsense", "http://"])
def test_an_address_that_is_none_says_so(url):
    with pytest.raises(AnnotatorError, match="an address that is none"):
        Client(url, "0" * 40).whoami()


def test_a_long_import_holds_no_more_than_its_batch(client, project):
    for start in range(0, 1000, 250):
        client.import_tasks(project, [{"data": {"image": "/1.jpg", "key": str(start + i)}} for i in range(250)])
    assert _keys(client, project) == [str(i) for i in range(1000)]
    assert json.dumps(next(client.tasks_of(project))["data"]) == '{"image": "/1.jpg", "key": "0"}'
