// Command benchtable reads the output of `go test -bench` on its standard input,
// passes it on, and ends with one table of all benchmarks that have a ceiling:
// those that report a ratio. See package wal/waltest/benchmark for the metrics.
// It ends with 1 if a benchmark failed or none was read.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

// columns are the metrics of the table, in order, each with its heading and its
// number of decimals.
var columns = []struct {
	unit, heading string
	decimals      int
}{
	{"ratio", "of ceiling", 2},
	{"events/s", "events/s", 0},
	{"p50-ms", "p50 ms", 2},
	{"p99-ms", "p99 ms", 2},
	{"cpu-s/Mevents", "CPU s/M events", 2},
	{"peak-MB", "peak MB", 0},
}

// row is a benchmark's name and its metrics by unit.
type row struct {
	name    string
	metrics map[string]float64
}

func main() {
	rows, failed, err := read(os.Stdin, os.Stdout)
	if err == nil {
		err = write(os.Stdout, rows)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchtable:", err)
	case len(rows) == 0:
		fmt.Fprintln(os.Stderr, "benchtable: no benchmark with a ratio was read")
	case failed:
		fmt.Fprintln(os.Stderr, "benchtable: a benchmark failed, see above")
	default:
		return
	}
	os.Exit(1)
}

// read passes in on to out and collects the rows.
func read(in io.Reader, out io.Writer) (rows []row, failed bool, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if _, err := fmt.Fprintln(out, line); err != nil {
			return nil, false, err
		}
		failed = failed || strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL")
		if r, ok := parse(line); ok {
			rows = append(rows, r)
		}
	}
	return rows, failed, lines.Err()
}

// parse reads a line such as "BenchmarkX/y-2  5  0.93 ratio  12 p99-ms". ok is
// false if it is none, or has no ratio.
func parse(line string) (r row, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 {
		return row{}, false
	}
	name, found := strings.CutPrefix(fields[0], "Benchmark")
	if !found {
		return row{}, false
	}
	if dash := strings.LastIndexByte(name, '-'); dash > 0 {
		if _, err := strconv.Atoi(name[dash+1:]); err == nil {
			name = name[:dash] // the number of processors
		}
	}
	r = row{name: name, metrics: map[string]float64{}}
	for i := 2; i < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return row{}, false
		}
		r.metrics[fields[i+1]] = value
	}
	_, ok = r.metrics["ratio"]
	return r, ok
}

// write prints the table, in Markdown that also reads well on a terminal.
func write(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "\n| benchmark\t")
	for _, c := range columns {
		fmt.Fprintf(w, "| %s\t", c.heading)
	}
	fmt.Fprint(w, "|\n|---\t")
	for range columns {
		fmt.Fprint(w, "|---:\t")
	}
	fmt.Fprintln(w, "|")
	for _, r := range rows {
		fmt.Fprintf(w, "| %s\t", r.name)
		for _, c := range columns {
			value, has := r.metrics[c.unit]
			if !has {
				fmt.Fprint(w, "| –\t")
				continue
			}
			fmt.Fprintf(w, "| %.*f\t", c.decimals, value)
		}
		fmt.Fprintln(w, "|")
	}
	return w.Flush()
}
