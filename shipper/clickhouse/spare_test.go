package clickhouse

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// insertColumns makes the empty columns of an insert, as the driver does.
func insertColumns(t *testing.T) []chcolumn.Interface {
	t.Helper()
	var columns []chcolumn.Interface
	for i, kind := range []chcolumn.Type{"String", "UInt64", "LowCardinality(String)", "String"} {
		c, err := kind.Column(fmt.Sprint(i), &chcolumn.ServerContext{Timezone: time.UTC})
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, c)
	}
	return columns
}

func appendTexts(t *testing.T, columns []chcolumn.Interface, prefix string, rows int) {
	t.Helper()
	texts := make([]string, rows)
	for i := range texts {
		texts[i] = fmt.Sprint(prefix, i)
	}
	for _, at := range []int{0, 2, 3} {
		if _, err := columns[at].Append(texts); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpareTexts: an insert into borrowed memory has its own rows and nothing of those before it, and memory
// is lent once, to an insert of about that size.
func TestSpareTexts(t *testing.T) {
	var spare spareTexts
	for round, rows := range []int{1000, 1000, 700, 3000, 751, 10} {
		columns := insertColumns(t)
		spare.lend(columns, rows)
		if spare.columns != nil {
			t.Fatal("what is lent is still kept")
		}
		appendTexts(t, columns, fmt.Sprint("round ", round, " "), rows)
		for _, at := range []int{0, 2, 3} {
			if n := columns[at].Rows(); n != rows {
				t.Fatalf("round %d: column %d has %d rows, want %d", round, at, n, rows)
			}
		}
		for _, i := range []int{0, rows / 2, rows - 1} {
			if got, want := columns[3].Row(i, false), fmt.Sprint("round ", round, " ", i); got != want {
				t.Fatalf("round %d: row %d is %q, want %q", round, i, got, want)
			}
		}
		spare = spareOf(columns, rows)
	}

	// allocations are those of appending rows into memory of an insert of kept rows.
	allocations := func(kept, rows int) float64 {
		const runs = 5
		var spares []spareTexts
		var inserts [][]chcolumn.Interface
		for range runs + 1 { // AllocsPerRun runs once beforehand
			before := insertColumns(t)
			appendTexts(t, before, "", kept)
			spares, inserts = append(spares, spareOf(before, kept)), append(inserts, insertColumns(t))
		}
		run := 0
		return testing.AllocsPerRun(runs, func() {
			spares[run].lend(inserts[run], rows)
			for i := range rows {
				if err := inserts[run][0].AppendRow("1"); err != nil {
					t.Fatal(i, err)
				}
			}
			run++
		})
	}
	if n := allocations(1000, 1000); n > 0 {
		t.Errorf("an insert of the same size grows its columns %v times", n)
	}
	if n := allocations(1000, 200); n <= 0 {
		t.Error("a small insert keeps the memory of a large one")
	}
}

// TestSpareTextsAreLetGo while no block comes.
func TestSpareTextsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		columns := insertColumns(t)
		d := &delivery{server: &server{spare: spareOf(columns, 1)}}
		blocks := make(chan *block)
		got := make(chan *block)
		next := func() { got <- d.await(blocks) }

		first, second := &block{}, &block{}
		go next()
		time.Sleep(spareAge - 1)
		blocks <- first
		if <-got != first || d.server.spare.columns == nil {
			t.Error("the memory is gone although a block came in time")
		}

		go next()
		time.Sleep(spareAge + 1)
		synctest.Wait()
		if d.server.spare.columns != nil {
			t.Error("the memory is still held")
		}
		blocks <- second
		if <-got != second {
			t.Error("another block came")
		}
		go next()
		close(blocks)
		if <-got != nil {
			t.Error("no end")
		}
	})
}
