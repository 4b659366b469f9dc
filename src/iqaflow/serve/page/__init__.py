"""The page: one model in the browser, on this machine's loopback alone.

    iqaflow demo        # or `make demo`

`desk` asks the model, `pictures` and `views` show what it says, `app` lays the page out, `serve` starts it.
"""
