package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"forebay/node"
)

func newDoctor(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "doctor --config FILE", Short: "Examine all that the node stands on, and say what to do", Args: exactArgs(),
		Long: `Examine what a node of this configuration stands on: configuration, data
directory, disk, clock, keys, destinations, ports; and, if it runs, the node
itself. Nothing is left behind: no row, no event, no file.

It exits with 1 if something fails; warnings do not count.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.config == "" {
				return errNoConfig
			}
			var findings []node.Finding
			cfg, err := g.load()
			if err == nil {
				err = cfg.CheckFiles()
			}
			if err != nil {
				findings = append(findings, node.Finding{Check: "configuration", State: node.FindingFail, Text: err.Error(), Remedy: "correct what is named"})
			} else {
				findings = append(findings, node.Finding{Check: "configuration", State: node.FindingOK, Text: g.config + " is in order"})
			}
			if cfg.Node.DataDir != "" {
				findings = append(findings, node.Examine(cmd.Context(), cfg, nodeOptions(nil))...)
			}
			return g.printFindings(findings)
		},
	}
}

// examination is what `forebay doctor --json` prints.
type examination struct {
	OK       bool           `json:"ok"` // nothing fails
	Findings []node.Finding `json:"findings"`
}

func (g *globals) printFindings(findings []node.Finding) error {
	counts := map[string]int{}
	for _, f := range findings {
		counts[f.State]++
	}
	failed := counts[node.FindingFail]
	if g.json {
		if err := g.printJSON(examination{OK: failed == 0, Findings: findings}); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			fmt.Fprintf(g.out, "%-4s  %s: %s\n", strings.ToUpper(f.State), f.Check, f.Text)
			if f.Remedy != "" {
				fmt.Fprintf(g.out, "      -> %s\n", f.Remedy)
			}
		}
		fmt.Fprintf(g.out, "\n%d ok, %s, %d failed\n", counts[node.FindingOK], count(counts[node.FindingWarn], "warning"), failed)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d findings are failures", failed, len(findings))
	}
	return nil
}
