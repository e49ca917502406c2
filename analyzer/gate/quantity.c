#include "analyzer/gate/quantity.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DIGITS_MAX = 15, SECONDS_PER_DAY = 86400 };

bool quantity_parse_count(const char *text, uint64_t *count) {
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > DIGITS_MAX || text[digits] != '\0')
		return false;
	*count = strtoull(text, NULL, 10);
	return true;
}

/* Digits with at most one point among them; the rest behind blanks is the unit. No strtod: that one knows
 * hexadecimal, infinity and the user's locale. */
static bool split_number(const char *text, double *number, const char **unit) {
	double value = 0;
	double scale = 1;
	size_t digits = 0;
	bool is_fraction = false;
	for (; isdigit((unsigned char)*text) || (*text == '.' && !is_fraction && digits > 0); text++) {
		if (*text == '.') {
			is_fraction = true;
			continue;
		}
		value = value * 10 + (*text - '0');
		scale *= is_fraction ? 10 : 1;
		if (++digits > DIGITS_MAX)
			return false;
	}
	if (digits == 0 || text[-1] == '.')
		return false;
	*number = value / scale;
	*unit = text + strspn(text, " ");
	return true;
}

bool quantity_parse_number(const char *text, double *number) {
	const char *unit;
	return split_number(text, number, &unit) && *unit == '\0';
}

bool quantity_parse_percent(const char *text, double *ratio) {
	const char *unit;
	double percent;
	if (!split_number(text, &percent, &unit) || (*unit != '\0' && strcmp(unit, "%") != 0))
		return false;
	*ratio = percent / 100;
	return true;
}

bool quantity_parse_seconds(const char *text, double *seconds) {
	static const struct {
		const char *name;
		double seconds;
	} units[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}};
	const char *unit;
	double number;
	if (!split_number(text, &number, &unit))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(unit, units[i].name) == 0) {
			*seconds = number * units[i].seconds;
			return true;
		}
	return false;
}

static bool is_date_shaped(const char *text) {
	static const char shape[] = "dddd-dd-dd";
	for (size_t i = 0; shape[i] != '\0'; i++)
		if (shape[i] == 'd' ? !isdigit((unsigned char)text[i]) : text[i] != shape[i])
			return false;
	return text[sizeof shape - 1] == '\0';
}

bool quantity_parse_date(const char *text, int64_t *day) {
	struct tm date = {0};
	char again[11];
	if (!is_date_shaped(text) ||
	    sscanf(text, "%4d-%2d-%2d", &date.tm_year, &date.tm_mon, &date.tm_mday) != 3)
		return false;
	date.tm_year -= 1900;
	date.tm_mon -= 1;
	*day = (int64_t)floor((double)timegm(&date) / SECONDS_PER_DAY);
	quantity_format_date(again, *day);
	return strcmp(text, again) == 0; /* a 31st of February comes back as another day */
}

int64_t quantity_today(void) {
	return (int64_t)time(NULL) / SECONDS_PER_DAY;
}

void quantity_format_date(char text[11], int64_t day) {
	struct tm date;
	time_t seconds = (time_t)(day * SECONDS_PER_DAY);
	if (gmtime_r(&seconds, &date) == NULL || strftime(text, 11, "%Y-%m-%d", &date) != 10)
		snprintf(text, 11, "0000-00-00");
}
