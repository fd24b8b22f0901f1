package clickhouse

import (
	"fmt"
	"slices"

	"forebay/shipper/columns"
)

// Unstored is a column of which the table keeps no values.
type Unstored struct {
	Column  string `json:"column"` // "": the table is not there, or not to be seen
	Why     string `json:"why"`
	Remedy  string `json:"remedy"`             // the statement that mends it
	MayLack bool   `json:"may_lack,omitempty"` // delivery goes on without it
	Values  uint64 `json:"values"`             // of events delivered since the start; they are in the log alone
}

// unstored lists the columns that the table does not keep, in their order, but
// for those that it is meant to lack. The column extra is listed although few
// events have a value for it: see Lacking.
func (o Options) unstored(t table) []Unstored {
	if !t.exists() {
		return []Unstored{{Why: "does not exist, or user " + o.Username + " may not see it", Remedy: "forebay schema apply"}}
	}
	var all []Unstored
	for _, c := range fields {
		f, has := t.columns[c.name]
		if !has && slices.Contains(o.Optional, c.name) {
			continue
		}
		m := mismatch{column: c}
		if has {
			m.has = &f
		}
		if !has || f.computed != "" || !c.fits(f.kind) {
			all = append(all, Unstored{Column: c.name, Why: m.String(), Remedy: m.alter(o, t), MayLack: !has && !c.required && !o.CreateTable})
		}
	}
	return all
}

// Lacking are those of the columns whose values are missed: all but extra, for
// which only few events have any, as long as none had.
func (s Stats) Lacking() []Unstored { return lacking(s.Unstored) }

func lacking(all []Unstored) []Unstored {
	return slices.DeleteFunc(slices.Clone(all), func(u Unstored) bool {
		return u.Column == columns.ExtraName && u.Values == 0
	})
}

// noteUnstored replaces the list, keeps its counts, and returns what is new in
// it and what is gone.
func (c *counters) noteUnstored(table string, now []Unstored) (news, gone []Unstored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, u := range now {
		if at := indexOf(c.stats.Unstored, u.Column); at < 0 || c.stats.Unstored[at].Why != u.Why {
			news = append(news, u)
		}
		now[i].Values = c.omitted[u.Column]
	}
	for _, u := range c.stats.Unstored {
		if indexOf(now, u.Column) < 0 {
			gone = append(gone, u)
		}
	}
	c.stats.Table, c.stats.Unstored = table, now
	return news, gone
}

func indexOf(all []Unstored, column string) int {
	return slices.IndexFunc(all, func(u Unstored) bool { return u.Column == column })
}

// tellUnstored notes which columns the table does not keep, and logs each that
// is new or kept again.
func (s *Sink) tellUnstored(t table) {
	name := s.opts.Database + "." + s.opts.Table
	news, gone := s.stats.noteUnstored(name, s.opts.unstored(t))
	for _, u := range news {
		if u.Column != columns.ExtraName {
			s.opts.Logger.Warn("values are not stored", "table", name, "column", u.Column, "why", u.Why, "remedy", u.Remedy)
		}
	}
	for _, u := range gone {
		s.opts.Logger.Info("values are stored", "table", name, "column", u.Column)
	}
}

// omit counts the values of the rows that the table does not keep.
func (c *counters) omit(b *block, rows []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(rows) == 0 {
		return
	}
	for i, u := range c.stats.Unstored {
		n := b.count(u.Column, rows)
		if c.omitted == nil {
			c.omitted = map[string]uint64{}
		}
		c.omitted[u.Column] += n
		c.stats.Unstored[i].Values = c.omitted[u.Column]
	}
}

// count is how many of the rows have a value of the column that says
// something: no empty text, no empty metadata.
func (b *block) count(column string, rows []int) (n uint64) {
	at := slices.Index(textFields[:], column)
	if at < 0 {
		return uint64(len(rows))
	}
	for _, row := range rows {
		if v := b.texts[at].at(row); len(v) > 0 && (column != "metadata" || string(v) != "{}") {
			n++
		}
	}
	return n
}

func (u Unstored) String() string {
	if u.Column == "" {
		return "the table " + u.Why
	}
	return fmt.Sprintf("%s: its values are not stored", u.Why)
}
