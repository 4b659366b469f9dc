"""The page: one model in the browser, on this machine's loopback alone.

    iqaflow demo        # or `make demo`

`desk` asks the model, `views` shows what it says, `app` lays the page out, `serve` starts it.
"""
