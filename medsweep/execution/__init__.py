"""Where trials run: a DAG over one Ray Tuner or in this process, and the driver that resumes by planning again.

The store decides what is finished; nothing is ever restored from Ray Tune's own state.
"""
