"""From a sweep file to what a cluster runs, as text from ``templates/``; no key is ever written."""
