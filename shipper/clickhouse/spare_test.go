package clickhouse

import (
	"fmt"
	"strings"
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

// textColumns are the places of the text columns among them.
var textColumns = []int{0, 2, 3}

func numbered(prefix string, rows int) []string {
	texts := make([]string, rows)
	for i := range texts {
		texts[i] = fmt.Sprint(prefix, i)
	}
	return texts
}

// insertTexts takes texts into columns as server.insert does.
func insertTexts(t *testing.T, spare *spareTexts, columns []chcolumn.Interface, texts []string) {
	t.Helper()
	for _, at := range textColumns {
		spare.lend(columns[at], texts)
		if _, err := columns[at].Append(texts); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpareTexts: an insert into borrowed memory has its own rows and names and nothing of those before it, what
// is lent is no longer kept, and no column keeps more than four times what its last insert needed.
func TestSpareTexts(t *testing.T) {
	var spare spareTexts
	for round, rows := range []int{1000, 1000, 700, 3000, 751, 300, 80, 20, 5, 1, 400} {
		columns := insertColumns(t)
		texts := numbered(fmt.Sprint("round ", round, " "), rows)
		if round%3 == 2 { // few bytes become many, and many few
			texts[rows/2] = strings.Repeat("large", 10_000)
		}
		insertTexts(t, &spare, columns, texts)
		need := 0
		for _, text := range texts {
			need += len(text) + textPlace
		}
		for _, at := range textColumns {
			if n := columns[at].Rows(); n != rows || columns[at].Name() != fmt.Sprint(at) {
				t.Fatalf("round %d: column %d has %d rows and the name %q, want %d", round, at, n, columns[at].Name(), rows)
			}
			for i, want := range texts {
				if at == 2 {
					break // the driver tells rows of this kind only once they are encoded
				}
				if got := columns[at].Row(i, false); got != want {
					t.Fatalf("round %d: row %d of column %d is %q, want %q", round, i, at, got, want)
				}
			}
		}
		for name, kept := range spare {
			if kept.column != nil || kept.size > spareExcess*need {
				t.Fatalf("round %d: column %s: %d bytes are kept, lent out: %v; the insert needs %d", round, name, kept.size, kept.column == nil, need)
			}
		}
		spare.keep(columns)
	}
	if len(spare) != 2 {
		t.Errorf("memory of %d columns is kept, 2 are plain texts", len(spare))
	}
}

// TestSpareTextsSaveGrowing: an insert of the size of the one before allocates nothing for its texts. Inserts that
// become smaller and smaller do not pass on the memory of the largest.
func TestSpareTextsSaveGrowing(t *testing.T) {
	const large = 1000
	for _, test := range []struct {
		before []int // rows
		grows  bool
	}{{[]int{large}, false}, {[]int{large, large / 3, large / 9, large / 27}, true}} {
		const runs = 5
		var spares [runs + 1]spareTexts // AllocsPerRun runs once beforehand
		var inserts [runs + 1]chcolumn.Interface
		for run := range spares {
			for _, rows := range test.before {
				columns := insertColumns(t)
				insertTexts(t, &spares[run], columns, numbered("text ", rows))
				spares[run].keep(columns)
			}
			inserts[run] = insertColumns(t)[0]
		}
		run, texts := 0, numbered("text ", large)
		if n := testing.AllocsPerRun(runs, func() {
			spares[run].lend(inserts[run], texts)
			for range texts {
				if err := inserts[run].AppendRow("text 12"); err != nil {
					t.Fatal(err)
				}
			}
			run++
		}); (n > 0) != test.grows {
			t.Errorf("after inserts of %d rows one of %d grows its columns %v times", test.before, large, n)
		}
	}
}

// TestSpareTextsAreLetGo while no block comes.
func TestSpareTextsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &delivery{
			sink:   &Sink{opts: Options{tableAge: time.Hour}},
			server: &server{spare: spareTexts{"route": {}}, learnt: time.Now()},
		}
		blocks := make(chan *block)
		got := make(chan *block)
		next := func() { got <- d.await(t.Context(), blocks) }

		first, second := &block{}, &block{}
		go next()
		time.Sleep(spareAge - 1)
		blocks <- first
		if <-got != first || d.server.spare == nil {
			t.Error("the memory is gone although a block came in time")
		}

		go next()
		time.Sleep(spareAge + 1)
		synctest.Wait()
		if d.server.spare != nil {
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
