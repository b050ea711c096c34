"""HTTP server: the API that turns drawings into pictures, and the drawing page.

A request is decoded by ``decode`` and ``strokes``, waits in ``queue``, is run by a generator of
``model_manager`` on one of the ``engines``, and is answered by ``routes``.
"""
