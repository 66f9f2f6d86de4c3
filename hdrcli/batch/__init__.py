"""Many files, resumable: what ``hdrcli batch`` does.

::

    sources ── naming ──> Items ── planning (manifest) ──> Tasks ── engine (work: read, convert, write) ──> Outcomes

* ``sources``: files, folders, globs and lists to files, each with its place in the tree;
* ``naming``: which output each of them gets; clashes are found before any work;
* ``manifest``: what was made from what, one JSON line a file, and the locks that keep two runs from one file;
* ``planning``: what is missing, changed or failed;
* ``work``: one file, from reading to the record of it; the only place that touches pixels;
* ``engines/``: one file each: processes on this machine, Ray;
* ``watching``: a folder in which files arrive.
"""
