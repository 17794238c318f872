"""The page in the browser: a front end to the same commands, working on the same RUN folders."""
