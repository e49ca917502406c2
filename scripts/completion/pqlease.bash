# Completion of pqlease for bash.

_pqlease() {
	local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} i
	local -A options=(
		[run]="-o --role --check --config --fail-on --max-open --max-utilization --p95-acquire --max-hold --baseline --baseline-ref --suppressions --explain --report=text --report=json --report=markdown --report=junit --report=sarif --report=github --report=gitlab --report=none --output --source-root --report-file --limit --server --full --color= --help --version"
		[report]="--config --format=text --format=json --format=markdown --format=junit --format=sarif --format=github --format=gitlab --output --source-root -o --limit --server --full --color= --help --version"
		[check]="--fail-on --max-open --max-utilization --p95-acquire --max-hold --baseline --baseline-ref --write-baseline --update-baseline --reason --suppressions --gen-suppressions --config --explain --format=text --format=json --format=markdown --format=junit --format=sarif --format=github --format=gitlab --output --source-root -o --limit --server --full --help --version"
		[who]="--json --server --help --version"
		[doctor]="--help --version"
		[diff]="--base --format=text --format=json -o --color= --help --version"
		[drill]="--waves --parallel --runs --delay -o --role --color= --help --version"
		[export]="--format=pprof --format=folded --format=speedscope --format=trace --format=csv --format=prometheus --limit -o --help --version"
		[advise]="--target --json --limit --server --help --version"
		[status]="--json --watch --exec --exec-every --limit --config --help --version"
		[top]="--interval --ascii --limit --config --color= --help --version"
		[serve]="--listen --dir --aliases --allow-host --limit --config --help --version"
		[ls]="--prune --dir --help --version"
	)
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "${!options[*]} --help --version" -- "$current")
		return
	fi
	if [[ $command == run || $command == doctor || $command == drill ]]; then
		for ((i = 2; i < COMP_CWORD; i++)); do
			# Behind -- the command's own completion takes over.
			[[ ${COMP_WORDS[i]} == -- ]] && declare -F _command_offset >/dev/null && _command_offset $((i + 1)) && return
		done
	fi
	if [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${options[$command]}" -- "$current")
	elif [[ $command == report || $command == check || $command == export || $command == diff || $command == status || $command == top || $command == serve ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$current"; compgen -G "/dev/shm/pqlease.$UID.*.ledger" -- "$current")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
	fi
}
complete -o filenames -F _pqlease pqlease
