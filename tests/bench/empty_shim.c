/* An empty library: what any LD_PRELOAD costs at start-up. */
extern int empty_shim;
int empty_shim;
