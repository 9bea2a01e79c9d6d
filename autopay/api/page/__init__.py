"""The page: what agents do, what it costs and what needs a person, as HTML that reads well without scripts.

Its routes call the same readings and actions as the API's. Templates lie beside them; scripts and styles are built from
`web/` into `static/`, which the wheel carries.
"""
