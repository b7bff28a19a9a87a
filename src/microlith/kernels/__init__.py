"""C99 kernels and the descriptors that say what each can do and costs."""
