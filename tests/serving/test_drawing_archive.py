import io

from PIL import Image

from storage import LocalStore
from tests.serving.exports import SIDE, export_random_generator, promote
from tests.serving.live_server import GENERATE, PNG, run_test_server


def test_nothing_is_stored_unless_a_setting_says_so(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    before = list(store.list_keys("models"))
    with run_test_server(store) as server:
        assert server.post_drawing().status_code == 200
    assert list(store.list_keys("models")) == before
    assert not list(store.list_keys("drawings"))
    with run_test_server(store, keep=True) as server:
        picture = server.post_drawing(number=4).content
        assert server.client.post(GENERATE, content=b"", headers=PNG).status_code == 415
    kept = list(store.list_keys("drawings/shoes"))
    assert len(kept) == 2
    drawing, made = (store.get(key) for key in kept)
    assert made == picture
    image = Image.open(io.BytesIO(drawing))
    assert (image.size, image.mode) == ((SIDE, SIDE), "L")
