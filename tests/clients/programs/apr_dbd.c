/* APR's dbd: the driver is loaded by name; one connection closed, one left to its pool (which does not close it),
 * one failure. */
#include <stdio.h>

#include <apr_dbd.h>
#include <apr_general.h>

static void ask(const apr_dbd_driver_t *driver, apr_pool_t *pool, apr_dbd_t *conn) {
	apr_dbd_results_t *results = NULL;
	apr_dbd_row_t *row = NULL;
	if (apr_dbd_select(driver, pool, conn, &results, "select 17", 1) == 0 &&
	    apr_dbd_get_row(driver, pool, results, &row, -1) == 0)
		puts(apr_dbd_get_entry(driver, row, 0));
}

int main(void) {
	apr_pool_t *pool;
	const apr_dbd_driver_t *driver;
	apr_dbd_t *first, *second, *none = NULL;
	apr_initialize();
	apr_pool_create(&pool, NULL);
	apr_dbd_init(pool);
	if (apr_dbd_get_driver(pool, "pgsql", &driver) != APR_SUCCESS ||
	    apr_dbd_open(driver, pool, "", &first) != APR_SUCCESS ||
	    apr_dbd_open(driver, pool, "", &second) != APR_SUCCESS)
		return 1;
	ask(driver, pool, first);
	ask(driver, pool, second);
	puts(apr_dbd_open(driver, pool, "dbname=no_such_database_here", &none) == APR_SUCCESS ? "connected"
										       : "no such database");
	apr_dbd_close(driver, first);
	apr_pool_destroy(pool);
	apr_terminate();
	return 0;
}
