package main

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	const in = `goos: linux
BenchmarkAppend/goroutines=64-2         	    3072	    271033 ns/op	  12.92 MB/s	        1.500 cpu-s/Mevents	     36881 events/s	         0.9120 ratio
BenchmarkMemory/idle-2 	       1	  14.2 rss
PASS
ok  	forebay/wal	2.1s
BenchmarkFrontDoor/cores=1 	       1	         0.456 ratio	 1.25 p50-ms
`
	const want = `| benchmark              | of ceiling | events/s | p50 ms | p99 ms | CPU s/M events | peak MB |
|---                     |---:        |---:      |---:    |---:    |---:            |---:     |
| Append/goroutines=64   | 0.91       | 36881    | –      | –      | 1.50           | –       |
| FrontDoor/cores=1      | 0.46       | –        | 1.25   | –      | –              | –       |
`
	var echo, table strings.Builder
	rows, failed, err := read(strings.NewReader(in), &echo)
	if err != nil || failed {
		t.Fatal(failed, err)
	}
	if echo.String() != in {
		t.Errorf("passed on:\n%s", echo.String())
	}
	if err := write(&table, rows); err != nil {
		t.Fatal(err)
	}
	if got := squeeze(table.String()); got != squeeze(want) {
		t.Errorf("the table is\n%s\nwant\n%s", got, squeeze(want))
	}
	if _, failed, _ := read(strings.NewReader("--- FAIL: BenchmarkX\n"), &echo); !failed {
		t.Error("a failure was not seen")
	}
}

// squeeze leaves one space where there are many.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(s)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}
