"""The page in the browser: a front end to the same commands, working on the same RUN folders.

It is a small page of our own, because Gradio (6.x, tried on this very task) answers requests with any Host header, so
that a foreign site can reach it by a name that it makes resolve to 127.0.0.1; links pictures on outside servers; keeps
a session's state in the tab, where a reload loses it; and adds 56 packages. aiohttp is here already, under the API client.
"""
