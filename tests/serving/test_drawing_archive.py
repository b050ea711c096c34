import io

from PIL import Image

from storage import LocalStore
from tests.serving.exports import SIDE, export_random_generator, promote
from tests.serving.live_server import GENERATE, PNG, run_test_server


def test_drawings_are_stored_only_if_enabled(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    initial_keys = list(store.list_keys("models"))
    with run_test_server(store) as server:
        assert server.post_drawing().status_code == 200
    assert list(store.list_keys("models")) == initial_keys
    assert not list(store.list_keys("drawings"))
    with run_test_server(store, archive_drawings=True) as server:
        picture = server.post_drawing(number=4).content
        assert server.client.post(GENERATE, content=b"", headers=PNG).status_code == 415
    stored_keys = list(store.list_keys("drawings/shoes"))
    assert len(stored_keys) == 2
    drawing, stored_picture = (store.get(key) for key in stored_keys)
    assert stored_picture == picture
    image = Image.open(io.BytesIO(drawing))
    assert (image.size, image.mode) == ((SIDE, SIDE), "L")
