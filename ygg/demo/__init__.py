"""The demo: ygg's main job on real input, on one machine without a GPU.

Three real llama.cpp servers, the real dispatcher, real tasks. Nothing in here is imported by the
dispatcher; it needs the `demo` extra, which `make demo` installs.
"""
