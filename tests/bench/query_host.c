/* query_host PLUGIN SECONDS: loads a user of libpq RTLD_LOCAL, as interpreters do, and prints its queries per second. */
#include <dlfcn.h>
#include <stdio.h>

#include "tests/bench/bench.h"

int main(int argc, char **argv) {
	void *plugin = argc > 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	double (*queries_per_second)(double) =
		plugin ? (double (*)(double))dlsym(plugin, "queries_per_second") : NULL;
	if (!queries_per_second)
		return 2;
	printf("%.1f\n", queries_per_second(atof(argv[2])));
	return 0;
}
