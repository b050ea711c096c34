import io

from PIL import Image

from storage import LocalStore
from tests.serving.exports import SIDE, make, promote
from tests.serving.live_server import GENERATE, PNG, running


def test_nothing_is_stored_unless_a_setting_says_so(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    before = list(store.list("models"))
    with running(store) as server:
        assert server.draw().status_code == 200
    assert list(store.list("models")) == before
    assert not list(store.list("drawings"))
    with running(store, keep=True) as server:
        picture = server.draw(number=4).content
        assert server.client.post(GENERATE, content=b"", headers=PNG).status_code == 415
    kept = list(store.list("drawings/shoes"))
    assert len(kept) == 2
    drawing, made = (store.get(key) for key in kept)
    assert made == picture
    image = Image.open(io.BytesIO(drawing))
    assert (image.size, image.mode) == ((SIDE, SIDE), "L")
