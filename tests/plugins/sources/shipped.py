"""The photographs that are shipped, by another name."""

from iqaflow.sources import packaged


def bring(source, workspace):
    return packaged.bring(source, workspace)


def path(origin, source, workspace):
    return packaged.path(origin, source, workspace)
