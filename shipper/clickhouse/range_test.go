package clickhouse

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/wal"
	"forebay/wal/record"
)

// moments are timestamps about the ends of what some column holds.
var moments = []string{
	"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.001Z", "1583-01-01T00:00:00Z",
	"1677-09-21T00:12:43Z", "1677-09-21T00:12:44Z", "1899-12-31T23:59:59.999Z", "1900-01-01T00:00:00Z", "1924-12-31T23:59:59.999Z",
	"1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.999Z", "2026-11-23T10:00:00.123Z",
	"2038-01-19T03:14:08Z", "2106-02-07T06:28:15.999Z", "2106-02-07T06:28:16Z", "2242-01-01T00:00:00.001Z", "2262-04-11T23:47:16.854Z",
	"2262-04-11T23:47:16.855Z", "2299-12-31T23:59:59.999Z", "2300-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z",
}

// appendRaw accepts one event as it is.
func (r *rig) appendRaw(raw string) {
	r.tb.Helper()
	b := record.Batch{Project: "shop", Events: []record.Event{{Session: "s", Raw: []byte(raw)}}}
	if _, err := r.log.Append(r.tb.Context(), wal.Entry{Data: record.Append(nil, &b), Events: 1}); err != nil {
		r.tb.Fatal(err)
	}
}

// reasons are why events were set aside, by seq.
func (r *rig) reasons() map[uint64]string {
	r.tb.Helper()
	why := map[uint64]string{}
	err := r.cursor.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
		why[d.Seq] = d.Reason
		return nil
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	return why
}

// TestTimesAreStoredOrRefused: through every type that an instant column may
// have, a time is read back as it was, cut to the column's precision, or there
// is a dead letter that names the column.
func TestTimesAreStoredOrRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, server oracle, _ string) {
		types := map[string]int64{"DateTime": 1000, "DateTime('Asia/Tokyo')": 1000, "Nullable(DateTime)": 1000}
		if o.CreateTable {
			for precision, tick := range []int64{1000, 100, 10, 1, 1, 1, 1, 1, 1, 1} {
				types[fmt.Sprintf("DateTime64(%d)", precision)] = tick
			}
			types["Nullable(DateTime64(3, 'America/New_York'))"] = 1
		}
		o.CreateTable = false
		for columnType, tick := range types {
			t.Run(columnType, func(t *testing.T) {
				server.MustQuery(t, "DROP TABLE IF EXISTS events")
				server.MustQuery(t, strings.Replace(ownTable, "timestamp DateTime('UTC')", "timestamp "+columnType, 1))
				r := newRig(t)
				for _, moment := range moments {
					r.appendRaw(`{"eventType":"click","timestamp":"` + moment + `","sessionId":"s"}`)
				}
				r.start(o)
				r.shipped()
				read := "toInt64(toUnixTimestamp(assumeNotNull(timestamp))) * 1000"
				if strings.Contains(columnType, "DateTime64") {
					read = "toUnixTimestamp64Milli(assumeNotNull(timestamp))"
				}
				stored := map[uint64]int64{}
				for line := range strings.Lines(server.MustQuery(t, "SELECT seq, "+read+" FROM events ORDER BY seq")) {
					var seq uint64
					var ms int64
					if _, err := fmt.Sscan(line, &seq, &ms); err != nil {
						t.Fatal(err)
					}
					stored[seq] = ms
				}
				why := r.reasons()
				for i, moment := range moments {
					sent := at(moment)
					seq := uint64(i + 1)
					got, is := stored[seq]
					switch {
					case is && why[seq] != "":
						t.Errorf("%s is stored and refused", moment)
					case is && got != time.UnixMilli(sent).Add(-time.Duration(((sent%tick)+tick)%tick)*time.Millisecond).UnixMilli():
						t.Errorf("%s is stored as %s", moment, time.UnixMilli(got).UTC())
					case !is && !strings.HasPrefix(why[seq], "column timestamp is "+columnType):
						t.Errorf("%s is not stored, because %q", moment, why[seq])
					}
				}
				for _, moment := range []string{"1970-01-01T00:00:00Z", "2106-02-07T06:28:15.999Z"} {
					if _, is := stored[uint64(slices.Index(moments, moment)+1)]; !is {
						t.Errorf("%s is not stored", moment)
					}
				}
			})
		}
	})
}

// TestTextsAreStored: every type that a text column may have holds every text.
func TestTextsAreStored(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, server oracle, _ string) {
		types := []string{"String", "Nullable(String)"}
		if o.CreateTable {
			types = append(types, "LowCardinality(String)", "LowCardinality(Nullable(String))")
		}
		o.CreateTable = false
		for _, columnType := range types {
			t.Run(columnType, func(t *testing.T) {
				server.MustQuery(t, "DROP TABLE IF EXISTS events")
				server.MustQuery(t, strings.Replace(ownTable, "route String", "route "+columnType, 1))
				r := newRig(t)
				texts := []string{"", "a", `\u0000\u0000`, "café 😀", `\n\t\\\"'`, strings.Repeat("long", 20_000), "NULL", `\\N`}
				for _, text := range texts {
					r.appendRaw(`{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":"s","route":"` + text + `"}`)
				}
				r.start(o)
				r.shipped()
				got := server.MustQuery(t, "SELECT hex(assumeNotNull(route)) FROM events WHERE route IS NOT NULL ORDER BY seq")
				want := []string{"", "61", "0000", "636166C3A920F09F9880", "0A095C2227", strings.Repeat("6C6F6E67", 20_000), "4E554C4C", "5C4E"}
				if got != strings.Join(want, "\n") {
					t.Errorf("stored %.200q", got)
				}
			})
		}
	})
}

// TestReceiptOutOfRange: a node's clock may have been anywhere before 2100, from when on the log does not believe it.
func TestReceiptOutOfRange(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, server oracle, _ string) {
		o.CreateTable = false
		for year, held := range map[int]bool{1969: false, 1970: true, 2099: true} {
			t.Run(fmt.Sprint(year), func(t *testing.T) {
				server.MustQuery(t, "DROP TABLE IF EXISTS events")
				server.MustQuery(t, ownTable)
				log, err := wal.Open(wal.Options{Dir: t.TempDir(), SyncInterval: time.Second, Now: func() time.Time {
					return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
				}})
				if err != nil {
					t.Fatal(err)
				}
				r := rigOver(t, log)
				r.append(3)
				r.start(o)
				r.shipped()
				rows, letters := server.MustQuery(t, "SELECT count() FROM events"), len(r.dead())
				if held && (rows != "3" || letters != 0) || !held && (rows != "0" || letters != 3) {
					t.Errorf("%s rows, %d dead letters", rows, letters)
				}
			})
		}
	})
}

// TestNumbersOutOfRange: no seq is turned round by a signed column.
func TestNumbersOutOfRange(t *testing.T) {
	b := &block{seqs: []uint64{1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64}}
	seq := fields[slices.IndexFunc(fields[:], func(c column) bool { return c.name == "seq" })]
	for columnType, want := range map[string][]bool{
		"UInt64": {true, true, true, true}, "Int64": {true, true, false, false}, "Nullable(Int64)": {true, true, false, false},
		"Int128": {true, true, true, true}, "UInt256": {true, true, true, true},
	} {
		for row, fits := range want {
			if why := b.unfit(seq, columnType, release{}, row); (why == "") != fits {
				t.Errorf("%s, %d: %q", columnType, b.seqs[row], why)
			}
		}
	}
}

// TestTimesByRelease: what DateTime64 holds has grown.
func TestTimesByRelease(t *testing.T) {
	for version, years := range map[string][2]int{
		"20.8.1.1": {1970, 2105}, "21.3.20": {1970, 2105}, "21.4.1.6417": {1925, 2262}, "22.7.7": {1925, 2262},
		"22.8.1": {1900, 2262}, "26.7.3.1": {1900, 2262}, "not a version": {1970, 2105},
	} {
		span := parseRelease(version).holds("DateTime64(3, 'UTC')")
		if got := [2]int{time.UnixMilli(span.from).UTC().Year(), time.UnixMilli(span.until).UTC().Year()}; got != years {
			t.Errorf("%s: %d, want %d", version, got, years)
		}
	}
}
