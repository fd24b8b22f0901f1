package clickhouse

import (
	"time"

	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// spareTexts is the memory of an insert's text columns, by their name, for the
// next insert. The driver's own columns grow from nothing each time, by
// copying; that was half of all that the node allocated.
type spareTexts map[string]spareText

type spareText struct {
	column *chcolumn.String // nil while it is lent
	size   int              // bytes for which its memory has grown
}

const (
	// spareAge is for how long memory is kept without an insert.
	spareAge = 5 * time.Second
	// spareExcess is how many times the memory that an insert needs a column may bring along.
	spareExcess = 4
	// textPlace is what the driver notes of each text, in bytes.
	textPlace = 16
)

// lend gives a column that is to take the texts the memory that is kept for it,
// unless that is far too much. Columns that are no plain text have none.
func (s *spareTexts) lend(column chcolumn.Interface, texts []string) {
	into, ok := column.(*chcolumn.String)
	if !ok {
		return
	}
	size := textPlace * len(texts)
	for _, t := range texts {
		size += len(t)
	}
	name := into.Name()
	spare := (*s)[name]
	if spare.column != nil && spare.size <= spareExcess*size {
		*into = *spare.column
		into.Reset()
		size = max(size, spare.size)
	}
	if *s == nil {
		*s = spareTexts{}
	}
	(*s)[name] = spareText{size: size}
}

// keep takes the memory of an insert that was acknowledged. After any other the
// driver might still be reading it.
func (s spareTexts) keep(columns []chcolumn.Interface) {
	for _, c := range columns {
		if spare, lent := s[c.Name()]; lent {
			spare.column, _ = c.(*chcolumn.String)
			s[c.Name()] = spare
		}
	}
}
