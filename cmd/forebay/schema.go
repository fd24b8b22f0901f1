package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"forebay/node"
	"forebay/shipper/clickhouse"
)

func newSchema(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use: "schema", Short: "Show, compare and create the ClickHouse table",
		Long: `The table is the one that --config names. A running node is not needed, and
not disturbed.`,
	}
	c.AddCommand(newSchemaShow(g), newSchemaPlan(g), newSchemaApply(g))
	return c
}

// tableOptions is where the configuration says that rows go.
func (g *globals) tableOptions() (clickhouse.Options, error) {
	cfg, err := g.load()
	return node.ClickHouseOptions(cfg), err
}

func newSchemaShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print the statements that create the table on the server that answers, or on a current one", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := g.tableOptions()
			if err != nil {
				return err
			}
			shown, err := clickhouse.Show(cmd.Context(), o)
			if err != nil {
				return err
			}
			if !g.json {
				fmt.Fprintf(g.out, "-- for %s\n", servedBy(shown))
			}
			return g.printStatements(shown.Statements)
		},
	}
}

// servedBy names the server that statements are for.
func servedBy(s clickhouse.Shown) string {
	if s.Err != nil {
		return fmt.Sprintf("a current ClickHouse; yours was not asked: %s", strings.Join(strings.Fields(s.Err.Error()), " "))
	}
	return "ClickHouse " + s.Version
}

func newSchemaPlan(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "plan", Short: "Say how the table differs, and what would change it; changes nothing", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := g.tableOptions()
			if err != nil {
				return err
			}
			s, err := clickhouse.Plan(cmd.Context(), o)
			if err != nil {
				return err
			}
			return g.printSchema(s, "the table is as it should be")
		},
	}
}

func newSchemaApply(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "apply", Short: "Run the statements of plan; running it again takes up what is left", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := g.tableOptions()
			if err != nil {
				return err
			}
			s, err := clickhouse.Apply(cmd.Context(), o)
			if err != nil {
				return err
			}
			return g.printSchema(s, "there was nothing to do")
		},
	}
}

func (g *globals) printSchema(s clickhouse.Schema, nothing string) error {
	if g.json {
		return g.printJSON(s)
	}
	for _, d := range s.Differences {
		fmt.Fprintf(g.out, "-- %s\n", d)
	}
	if len(s.Differences)+len(s.Statements) == 0 {
		_, err := fmt.Fprintln(g.out, nothing)
		return err
	}
	return g.printStatements(s.Statements)
}

func (g *globals) printStatements(statements []string) error {
	if g.json {
		return g.printJSON(statements)
	}
	for _, s := range statements {
		if _, err := fmt.Fprintln(g.out, s+";"); err != nil {
			return err
		}
	}
	return nil
}
