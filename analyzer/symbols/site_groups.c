#include "analyzer/symbols/site_groups.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/hash_table.h"

struct group_entry {
	const char *place;
	size_t number;
	UT_hash_handle hh;
};

static void add_counts(struct model_totals *into, const struct model_totals *from) {
	for (int i = 0; i < MODEL_COUNTER_COUNT; i++)
		into->counter[i] += from->counter[i];
	for (int i = 0; i < MODEL_FINDING_TIME_COUNT; i++) {
		if (from->first_finding_ns[i] != 0 &&
		    (into->first_finding_ns[i] == 0 || from->first_finding_ns[i] < into->first_finding_ns[i]))
			into->first_finding_ns[i] = from->first_finding_ns[i];
		if (from->last_finding_ns[i] > into->last_finding_ns[i])
			into->last_finding_ns[i] = from->last_finding_ns[i];
	}
	if (from->first_ns != 0 && (into->first_ns == 0 || from->first_ns < into->first_ns))
		into->first_ns = from->first_ns;
	if (from->last_ns > into->last_ns)
		into->last_ns = from->last_ns;
}

static void widen(struct site_left *left, uint64_t first_ns, uint64_t last_ns, uint64_t age_ns) {
	if (first_ns != 0 && (left->first_ns == 0 || first_ns < left->first_ns))
		left->first_ns = first_ns;
	if (last_ns > left->last_ns)
		left->last_ns = last_ns;
	if (age_ns > left->oldest_age_ns)
		left->oldest_age_ns = age_ns;
}

static void add_folded(struct site_group *group, const struct model_totals *totals) {
	for (int left = 0; left < MODEL_LEFT_COUNT; left++)
		for (int how = 0; how < MODEL_HOW_COUNT; how++) {
			if (totals->unreleased[left][how] == 0)
				continue;
			group->left[left][how].count += totals->unreleased[left][how];
			widen(&group->left[left][how], totals->first_finding_ns[MODEL_LEFT_SEEN + left],
			      totals->last_finding_ns[MODEL_LEFT_SEEN + left], 0);
		}
}

static uint64_t age_at(uint64_t until_ns, uint64_t taken_ns) {
	return until_ns > taken_ns ? until_ns - taken_ns : 0;
}

static void add_example(struct site_group *group, const struct site_example *example) {
	if (!example->is_borrowed)
		widen(&group->left[example->left][example->how], example->taken_ns, example->taken_ns,
		      example->age_ns);
	group->examples[group->example_count++] = *example;
}

static struct site_example example_of_slot(const struct model_lease *lease) {
	uint64_t taken_ns = lease->established_ns != 0 ? lease->established_ns : lease->begun_ns;
	return (struct site_example){.left = lease->left,
				     .how = lease->how,
				     .taken_site = lease->site,
				     .pid = lease->pid,
				     .backend_pid = lease->backend_pid,
				     .taken_ns = taken_ns,
				     .age_ns = age_at(lease->until_ns, taken_ns),
				     .test = lease->test};
}

static struct site_example example_of_folded(const struct model *model, const struct model_ended *ended) {
	uint64_t taken_ns = ended->established_ns != 0 ? ended->established_ns : ended->begun_ns;
	uint64_t until_ns = ended->ended_ns != 0 ? ended->ended_ns : model->run.until_ns;
	return (struct site_example){.is_borrowed = ended->release == MODEL_RELEASE_BY_OTHER_PROCESS,
				     .left = ended->left,
				     .how = ended->how,
				     .taken_site = ended->site,
				     .pid = ended->pid,
				     .backend_pid = ended->backend_pid,
				     .taken_ns = taken_ns,
				     .age_ns = age_at(until_ns, taken_ns),
				     .test = ended->test};
}

static int compare_examples(const void *a, const void *b) {
	const struct site_example *left = a;
	const struct site_example *right = b;
	if (left->taken_ns != right->taken_ns)
		return left->taken_ns < right->taken_ns ? -1 : 1;
	return left->pid != right->pid
		? (left->pid < right->pid ? -1 : 1)
		: (left->backend_pid > right->backend_pid) - (left->backend_pid < right->backend_pid);
}

/* Fingerprints know neither lines nor addresses, so that they outlive an edit. Within one run the place is
 * exact: two calls in one function are two places, and so are two nameless functions of a stripped program. */
static const char *place_of(struct arena *arena, const struct site_frames *frames) {
	if (frames->application == SITE_NO_FRAME)
		return frames->fingerprint;
	const struct site_frame *frame = &frames->frames[frames->application];
	if (frame->line != 0)
		return arena_text(arena, "%s %" PRIu32 " %s", frames->fingerprint, frame->line, frame->file);
	return arena_text(arena, "%s +%" PRIx64, frames->fingerprint, frame->offset);
}

static struct group_entry *new_group(struct site_groups *groups, struct arena *arena, uint32_t site,
				     const struct site_frames *frames) {
	struct group_entry *entry = arena_new(arena, struct group_entry);
	entry->number = groups->count++;
	groups->groups[entry->number].site = site;
	groups->groups[entry->number].frames = frames;
	return entry;
}

/* Returns the group number of each site. */
static size_t *assign_groups(struct site_groups *groups, struct arena *arena, const struct model *model,
			     const struct site_frames *frames) {
	struct group_entry *seen = NULL;
	size_t *group_of = arena_array(arena, model->site_count, sizeof *group_of);
	groups->groups = arena_array(arena, model->site_count, sizeof *groups->groups);
	for (uint32_t site = 0; site < model->site_count; site++) {
		struct group_entry *entry = NULL;
		const char *place = place_of(arena, &frames[site]);
		HASH_FIND_STR(seen, place, entry);
		if (entry == NULL) {
			entry = new_group(groups, arena, site, &frames[site]);
			entry->place = place;
			HASH_ADD_KEYPTR(hh, seen, entry->place, strlen(entry->place), entry);
		}
		group_of[site] = entry->number;
		add_counts(&groups->groups[entry->number].totals, &model->sites[site].totals);
		add_folded(&groups->groups[entry->number], &model->sites[site].totals);
	}
	HASH_CLEAR(hh, seen);
	return group_of;
}

/* A borrowed lease is an example of the place that used it. */
static uint32_t home_of(const struct model_ended *ended) {
	return ended->release == MODEL_RELEASE_BY_OTHER_PROCESS ? ended->release_site : ended->site;
}

/* Room for examples: first counted in example_count, then allocated and filled. */
static void allocate_examples(struct site_groups *groups, struct arena *arena, const struct model *model,
			      const size_t *group_of) {
	for (size_t i = 0; i < model->lease_count; i++)
		if (model->leases[i].is_owner_gone)
			groups->groups[group_of[model->leases[i].site]].example_count++;
	for (size_t i = 0; i < model->example_count; i++)
		groups->groups[group_of[home_of(&model->examples[i])]].example_count++;
	for (size_t i = 0; i < groups->count; i++) {
		struct site_group *group = &groups->groups[i];
		group->examples = arena_array(arena, group->example_count, sizeof *group->examples);
		group->example_count = 0;
	}
}

/* ---- Members: counted first, then allocated and filled ------------------------------------------- */

static bool is_used_now(const struct model *model, const struct model_lease *lease) {
	return lease->is_in_use && lease->last_use_site < model->site_count;
}

static void count_members(struct site_groups *groups, const struct model *model, const size_t *group_of) {
	for (size_t i = 0; i < model->site_count; i++)
		groups->groups[group_of[i]].site_count++;
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		groups->groups[group_of[lease->site]].taken_count++;
		if (is_used_now(model, lease))
			groups->groups[group_of[lease->last_use_site]].using_count++;
	}
}

static void fill_members(struct site_groups *groups, struct arena *arena, const struct model *model,
			 const size_t *group_of) {
	uint32_t *sites = arena_array(arena, model->site_count, sizeof *sites);
	const struct model_lease **leases = arena_array(arena, 2 * model->lease_count, sizeof *leases);
	for (size_t i = 0; i < groups->count; i++) {
		struct site_group *group = &groups->groups[i];
		group->sites = sites;
		group->taken = leases;
		group->using_here = leases + group->taken_count;
		sites += group->site_count;
		leases += group->taken_count + group->using_count;
		group->site_count = group->taken_count = group->using_count = 0;
	}
	for (uint32_t i = 0; i < model->site_count; i++) {
		struct site_group *group = &groups->groups[group_of[i]];
		group->sites[group->site_count++] = i;
	}
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		struct site_group *taken = &groups->groups[group_of[lease->site]];
		taken->taken[taken->taken_count++] = lease;
		if (!is_used_now(model, lease))
			continue;
		struct site_group *using_here = &groups->groups[group_of[lease->last_use_site]];
		using_here->using_here[using_here->using_count++] = lease;
	}
}

/* ---- Releases ------------------------------------------------------------------------------------- */

static bool is_taken_by_pool(const struct site_frames *frames) {
	for (size_t i = 0; i < frames->count; i++)
		if (frames->frames[i].owner == SITE_FRAME_POOL)
			return true;
	return false;
}

static void add_release(struct site_released *released, const struct model_releaser *from) {
	released->count += from->count;
	released->orphans += from->facts & MODEL_FACT_ORPHAN ? from->count : 0;
	released->unused += from->facts & MODEL_FACT_UNUSED ? from->count : 0;
	if (from->first_ns != 0 && (released->first_ns == 0 || from->first_ns < released->first_ns))
		released->first_ns = from->first_ns;
	if (from->last_ns > released->last_ns)
		released->last_ns = from->last_ns;
	if (from->count > released->place_count) {
		released->place = from->release_site;
		released->place_count = from->count;
	}
}

static void add_checkouts(struct site_groups *groups, uint32_t site, uint32_t use_site,
			  enum site_checkout_end end, const struct site_checkouts *more) {
	struct site_checkouts *used = &groups->groups[groups->group_of[use_site]].used[end];
	groups->groups[groups->group_of[site]].in_use_at_end[end] += more->count;
	used->count += more->count;
	if (more->first_ns != 0 && (used->first_ns == 0 || more->first_ns < used->first_ns))
		used->first_ns = more->first_ns;
	if (more->last_ns > used->last_ns)
		used->last_ns = more->last_ns;
}

static bool is_of_pool(const struct site_groups *groups, uint32_t site) {
	return groups->groups[groups->group_of[site]].is_pool;
}

static bool is_closed_in_use(const struct site_groups *groups, uint32_t site, uint32_t release_site,
			     uint32_t facts) {
	return (facts & MODEL_FACT_IN_USE) && is_of_pool(groups, site) &&
		release_kind_of(&groups->frames[release_site], facts) == RELEASE_EXIT;
}

bool site_groups_is_left_checkout(const struct site_groups *groups, const struct model_lease *lease) {
	bool is_own_end = lease->how == MODEL_EXIT || lease->how == MODEL_EXEC;
	bool is_left = lease->left == MODEL_LEFT_OPEN || lease->left == MODEL_LEFT_ORPHANED;
	return lease->is_owner_gone && is_own_end && is_left &&
		(lease->is_in_use || lease->is_used_to_the_end) && lease->command_begun_ns == 0 &&
		!lease->is_dedicated && is_of_pool(groups, lease->site);
}

bool site_groups_is_checkout(const struct site_groups *groups, const struct model_ended *ended,
			     enum site_checkout_end *end) {
	bool is_left = ended->release == MODEL_RELEASE_OWNER_GONE &&
		(ended->how == MODEL_EXIT || ended->how == MODEL_EXEC) &&
		(ended->release_facts & MODEL_FACT_IN_USE) && is_of_pool(groups, ended->site);
	*end = is_left ? SITE_CHECKOUT_LEFT : SITE_CHECKOUT_CLOSED_AT_EXIT;
	return is_left ||
		(ended->release == MODEL_RELEASE_FINISHED &&
		 is_closed_in_use(groups, ended->site, ended->release_site, ended->release_facts));
}

static void find_checkouts(struct site_groups *groups, const struct model *model) {
	for (size_t i = 0; i < model->releaser_count; i++) {
		const struct model_releaser *from = &model->releasers[i];
		if (is_closed_in_use(groups, from->site, from->release_site, from->facts))
			add_checkouts(groups, from->site, from->use_site, SITE_CHECKOUT_CLOSED_AT_EXIT,
				      &(struct site_checkouts){from->count, from->first_ns, from->last_ns});
	}
	for (size_t i = 0; i < model->left_in_use_count; i++) {
		const struct model_releaser *from = &model->left_in_use[i];
		if (is_of_pool(groups, from->site))
			add_checkouts(groups, from->site, from->use_site, SITE_CHECKOUT_LEFT,
				      &(struct site_checkouts){from->count, from->first_ns, from->last_ns});
	}
	for (size_t i = 0; i < model->lease_count; i++) {
		const struct model_lease *lease = &model->leases[i];
		if (site_groups_is_left_checkout(groups, lease))
			add_checkouts(groups, lease->site, lease->last_use_site, SITE_CHECKOUT_LEFT,
				      &(struct site_checkouts){1, lease->until_ns, lease->until_ns});
	}
}

static void add_releases(struct site_groups *groups, const struct model *model) {
	for (size_t i = 0; i < model->releaser_count; i++) {
		const struct model_releaser *from = &model->releasers[i];
		enum release_kind kind = release_kind_of(&groups->frames[from->release_site], from->facts);
		add_release(&groups->groups[groups->group_of[from->site]].released[kind], from);
	}
	for (size_t i = 0; i < groups->count; i++)
		groups->groups[i].is_pool = is_taken_by_pool(groups->groups[i].frames);
	find_checkouts(groups, model);
}

void site_groups_build(struct site_groups *groups, struct arena *arena, const struct model *model,
		       const struct site_frames *frames) {
	*groups = (struct site_groups){0};
	if (model->site_count == 0)
		return;
	size_t *group_of = assign_groups(groups, arena, model, frames);
	groups->group_of = group_of;
	groups->frames = frames;
	add_releases(groups, model);
	count_members(groups, model, group_of);
	fill_members(groups, arena, model, group_of);
	allocate_examples(groups, arena, model, group_of);
	for (size_t i = 0; i < model->lease_count; i++) {
		struct site_group *group = &groups->groups[group_of[model->leases[i].site]];
		if (!model->leases[i].is_owner_gone)
			continue;
		struct site_example example = example_of_slot(&model->leases[i]);
		group->left[example.left][example.how].count++;
		add_example(group, &example);
	}
	for (size_t i = 0; i < model->example_count; i++) {
		struct site_example example = example_of_folded(model, &model->examples[i]);
		add_example(&groups->groups[group_of[home_of(&model->examples[i])]], &example);
	}
	for (size_t i = 0; i < groups->count; i++)
		qsort(groups->groups[i].examples, groups->groups[i].example_count,
		      sizeof(struct site_example), compare_examples);
}
