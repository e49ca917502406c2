#include "analyzer/report/report_settings.h"

struct report_settings report_settings_standard(void) {
	return (struct report_settings){.thresholds = thresholds_standard()};
}
