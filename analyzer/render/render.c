#include "analyzer/render/render.h"

#include <string.h>

#include "analyzer/render/render_github.h"
#include "analyzer/render/render_gitlab.h"
#include "analyzer/render/render_json.h"
#include "analyzer/render/render_junit.h"
#include "analyzer/render/render_markdown.h"
#include "analyzer/render/render_sarif.h"
#include "analyzer/render/render_text.h"

static const struct {
	const char *name;
	void (*render)(const struct report *report, const struct render_options *options, FILE *stream);
} formats[RENDER_FORMAT_COUNT] = {
	[RENDER_TEXT] = {"text", render_text},
	[RENDER_JSON] = {"json", render_json},
	[RENDER_MARKDOWN] = {"markdown", render_markdown},
	[RENDER_JUNIT] = {"junit", render_junit},
	[RENDER_SARIF] = {"sarif", render_sarif},
	[RENDER_GITHUB] = {"github", render_github},
	[RENDER_GITLAB] = {"gitlab", render_gitlab},
};

bool render_find_format(const char *name, enum render_format *format) {
	for (int i = 0; i < RENDER_FORMAT_COUNT; i++)
		if (strcmp(name, formats[i].name) == 0) {
			*format = (enum render_format)i;
			return true;
		}
	return false;
}

void render_report(enum render_format format, const struct report *report,
		   const struct render_options *options, FILE *stream) {
	formats[format].render(report, options, stream);
}
