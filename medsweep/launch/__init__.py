"""From a sweep file to what a cluster runs: Slurm script, KubeRay RayJob, Ray job, Ray cluster file.

Everything is text from ``templates/``; no key is ever written, only the names of files and secrets that hold one.
"""
