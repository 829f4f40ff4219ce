"""Learning without a server: clusters exchange what they hold with their neighbours in a graph.

`graph` is who exchanges with whom, `heard` what each cluster then knows; `graphs` and `rules` are plug-ins, one a file.
"""
