package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples show how each command is used, by its name below forebay. A test
// holds that each has one, and that the program takes them.
var examples = map[string]string{
	"run": `
forebay run --config /etc/forebay/forebay.yaml
forebay run --dev`,
	"config check": `
forebay config check --config forebay.yaml
forebay config check --config forebay.yaml --outage 24h --rate 500`,
	"config show":   `forebay config show --config forebay.yaml`,
	"config reload": `forebay config reload --config forebay.yaml --why 'higher limits for shop'`,
	"keys create": `
forebay keys create --config forebay.yaml --project shop --origin https://shop.example.com
forebay keys create --file keys.yaml --project shop --strict > key`,
	"keys list": `
forebay keys list --config forebay.yaml
forebay keys list --file keys.yaml --json`,
	"keys revoke": `forebay keys revoke 3f9a0c1d2e4b --config forebay.yaml`,
	"keys rotate": `forebay keys rotate 3f9a0c1d2e4b --overlap 48h --config forebay.yaml > key`,
	"keys import": `forebay keys import keys.yaml --config forebay.yaml`,

	"schema show":  `forebay schema show --config forebay.yaml`,
	"schema plan":  `forebay schema plan --config forebay.yaml`,
	"schema apply": `forebay schema apply --config forebay.yaml`,
	"version":      `forebay version --json`,

	"completion bash":       `source <(forebay completion bash)`,
	"completion zsh":        `forebay completion zsh > "${fpath[1]}/_forebay"`,
	"completion fish":       `forebay completion fish > ~/.config/fish/completions/forebay.fish`,
	"completion powershell": `forebay completion powershell | Out-String | Invoke-Expression`,

	"status": `
forebay status
forebay status --watch
forebay status --check
forebay status --nodes edge-1:7071,edge-2:7071`,
	"top": `
forebay top
forebay top --every 10s`,
	"doctor": `forebay doctor --config forebay.yaml`,
	"trace": `
forebay trace 4711
forebay trace 5c2f-17-1 --project shop`,
	"drops tail": `
forebay drops tail --last 20
forebay drops tail --project shop --reason privacy`,
	"drops top": `
forebay drops top
forebay drops top --by project,rule --since 10m`,
	"events tail":    `forebay events tail --project shop`,
	"privacy check":  `forebay privacy check events.ndjson --config forebay.yaml`,
	"privacy report": `forebay privacy report --since 24h --detector email`,
	"audit-log":      `forebay audit-log`,

	"cursor list":   `forebay cursor list`,
	"cursor show":   `forebay cursor show clickhouse`,
	"cursor pause":  `forebay cursor pause session --for 2h --why 'deploy of the session manager'`,
	"cursor resume": `forebay cursor resume session`,
	"cursor step":   `forebay cursor step session`,
	"cursor retry":  `forebay cursor retry clickhouse`,
	"cursor rewind": `
forebay cursor rewind clickhouse --by 2h
forebay cursor rewind clickhouse --to-time 2026-11-23T10:00:00Z --why 'table dropped' --yes
forebay cursor rewind session --skip-to-end`,
	"cursor undo": `
forebay cursor undo clickhouse
forebay cursor undo clickhouse --yes`,

	"replay": `
forebay replay --into clickhouse --table events_v2
forebay replay --into session --url http://staging:8081 --session 5c2f --yes`,
	"replay list":   `forebay replay list`,
	"replay show":   `forebay replay show replay-1`,
	"replay pause":  `forebay replay pause replay-1 --for 1h`,
	"replay resume": `forebay replay resume replay-1`,
	"replay cancel": `forebay replay cancel replay-1 --why 'the wrong table'`,

	"dead list":    `forebay dead list session --project shop`,
	"dead show":    `forebay dead show session 4711`,
	"dead requeue": `forebay dead requeue session --all --why 'receiver mended'`,
	"dead discard": `forebay dead discard session --seq 4711,4712 --yes`,
	"dead export":  `forebay dead export session > letters.ndjson`,
	"dead import":  `forebay dead import session letters.ndjson`,
	"drain": `
forebay drain --timeout 5m --why 'new kernel'
forebay drain --undo`,

	"audit": `
forebay audit clickhouse
forebay audit clickhouse --from 2026-11-23T10:00:00Z --fill
forebay audit session --watch`,
	"wal ls":  `forebay wal ls`,
	"wal cat": `forebay wal cat --from 4711 --limit 10`,
	"wal grep": `
forebay wal grep '"eventType":"error"' --project shop --limit 20
forebay wal grep '(?i)timeout' --from 4711`,
	"wal verify":     `forebay wal verify`,
	"wal repair":     `forebay wal repair --config forebay.yaml`,
	"wal reidentify": `forebay wal reidentify --config forebay.yaml`,
}

// explain gives each command below c its examples.
func explain(c *cobra.Command) {
	for _, below := range c.Commands() {
		explain(below)
	}
	lines := examples[strings.TrimPrefix(c.CommandPath(), "forebay ")]
	if lines = strings.TrimSpace(lines); lines != "" {
		c.Example = "  " + strings.ReplaceAll(lines, "\n", "\n  ")
	}
}
