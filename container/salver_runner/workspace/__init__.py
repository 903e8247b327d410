"""The sandbox's files as tools see them; a path that is not absolute begins in the workspace, which a runner runs in."""
