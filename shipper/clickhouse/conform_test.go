package clickhouse

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/shippertest"
	"forebay/shipper/shippertest/proxy"
)

// TestConforms runs the suite of all sinks over both engines, with a network
// in front of them that fails: each part over a table of its own, read with
// FINAL where the server knows no tokens.
func TestConforms(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		var tables atomic.Int64
		shippertest.Conform(t, func(t *testing.T) shippertest.Subject {
			return conformSubject(t, o, server, fmt.Sprint("events_", tables.Add(1)), final)
		})
	})
}

// conformSubject is one table.
func conformSubject(t *testing.T, o Options, server oracle, table, final string) shippertest.Subject {
	network := proxy.Start(t, o.Addrs[0])
	o.Addrs, o.Table = []string{network.Addr()}, table
	create := clickhousetest.PlainTable(table)
	refuse := " ADD COLUMN refuse UInt8 MATERIALIZED throwIf(session_id = 's1' AND route = '/poison')"
	accept, stride := " DROP COLUMN refuse", 2
	if o.CreateTable {
		shown, err := Show(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		create = strings.Join(shown.Statements, ";\n")
		refuse = " ADD CONSTRAINT fine CHECK route != '/poison'"
		accept, stride = " DROP CONSTRAINT fine", 5
	}
	server.MustQuery(t, create)
	server.MustQuery(t, "ALTER TABLE "+table+refuse)
	return shippertest.Subject{
		Sink: func() shipper.Sink {
			o := o
			o.NodeID = "edge-1"
			sink, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			return sink
		},
		Arrived: func() []uint64 {
			seqs := []uint64{}
			for _, line := range strings.Fields(server.MustQuery(t, "SELECT seq FROM "+table+" "+final+" ORDER BY seq")) {
				seq, err := strconv.ParseUint(line, 10, 64)
				if err != nil {
					t.Error(err)
				}
				seqs = append(seqs, seq)
			}
			return seqs
		},
		Empty:  func() { server.MustQuery(t, "TRUNCATE TABLE "+table) },
		Break:  network.Down,
		Hang:   network.Pause,
		Heal:   func() { network.Up(); network.Resume() },
		Poison: `{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":"s1","route":"/poison","target":{"type":"element"}}`,
		Cure:   func() { server.MustQuery(t, "ALTER TABLE "+table+accept) },
		Stride: stride,
	}
}
