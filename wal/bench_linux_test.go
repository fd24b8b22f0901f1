package wal_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"forebay/wal"
)

// BenchmarkAppendOneCore compares appends of 64 goroutines on one core with the
// same on all of the machine's: the ratio is of records per second.
func BenchmarkAppendOneCore(b *testing.B) {
	const goroutines = 64
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	records := make([][]byte, 512)
	for i := range records {
		records[i] = sampleRecord(i)
	}
	l, err := wal.Open(wal.Options{Dir: benchDir(b), Compression: wal.CompressionS2, ReserveBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	var ratios rounds
	const round = goroutines * appendRound
	b.ResetTimer()
	for left := b.N; left > 0; left -= round {
		n := min(left, round)
		pinTo(b, &one)
		took := timed(func() { appendAll(b, l, records, goroutines, n) })
		b.StopTimer()
		pinTo(b, &all)
		ratios.add(timed(func() { appendAll(b, l, records, goroutines, n) }), took)
		b.StartTimer()
	}
	ratios.report(b, "of-two-cores")
}

// pinTo lets all threads of the process run on the given cores only.
func pinTo(b *testing.B, cores *unix.CPUSet) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		b.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.SchedSetaffinity(id, cores); err != nil && err != unix.ESRCH {
			b.Fatal(err)
		}
	}
}

// memoryChild is set in the process that BenchmarkMemory starts, to what it is
// to do with a log.
const memoryChild = "FOREBAY_WAL_MEMORY"

// BenchmarkMemory measures a process that has a log open with defaults: idle,
// and busy with 64 appenders, a reader at the tail and one in history. The log
// has 400 MB of history.
func BenchmarkMemory(b *testing.B) {
	dir := benchDir(b)
	l := buildLog(b, wal.Options{Dir: dir, Compression: wal.CompressionS2}, 400<<20)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for _, what := range []string{"idle", "busy"} {
		b.Run(what, func(b *testing.B) {
			for range b.N {
				child := exec.Command(os.Args[0], "-test.run=^TestMemoryChild$", "-test.v")
				child.Env = append(os.Environ(), memoryChild+"="+what+" "+dir)
				out, err := child.CombinedOutput()
				if err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				for line := range strings.Lines(string(out)) {
					if name, value, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(name, " MB") {
						mb, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
						if err != nil {
							b.Fatal(err)
						}
						b.ReportMetric(mb, strings.ReplaceAll(name, " ", "-"))
					}
				}
			}
		})
	}
}

// TestMemoryChild is the process that BenchmarkMemory measures; by itself it
// does nothing.
func TestMemoryChild(t *testing.T) {
	what, dir, wanted := strings.Cut(os.Getenv(memoryChild), " ")
	if !wanted {
		return
	}
	l := open(t, wal.Options{Dir: dir, Compression: wal.CompressionS2})
	mustAppend(t, l, entry(1, 1, 100))
	if what == "busy" {
		beBusy(t, l)
	}
	// The peak is measured before the garbage collector gives anything back.
	fmt.Printf("peak-rss MB: %.1f\n", status(t, "VmHWM"))
	debug.FreeOSMemory()
	fmt.Printf("rss MB: %.1f\n", status(t, "VmRSS"))
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("heap-live MB: %.1f\n", float64(m.HeapAlloc)/(1<<20))
}

// beBusy appends for 5 s, with two readers beside it.
func beBusy(t *testing.T, l *wal.Log) {
	end := time.Now().Add(5 * time.Second)
	ctx, stop := context.WithCancel(t.Context())
	var wg, readers sync.WaitGroup
	for _, from := range []uint64{1, l.DurableSeq()} {
		r := l.NewReader(from)
		readers.Go(func() {
			defer r.Close()
			for {
				b, err := r.Next(ctx)
				if err != nil {
					return
				}
				for range b.Entries() {
				}
			}
		})
	}
	for c := range 64 {
		wg.Go(func() {
			for n := c; time.Now().Before(end); n += 64 {
				if _, err := l.Append(t.Context(), wal.Entry{Data: sampleRecord(n), Events: 10}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	stop()
	readers.Wait()
}

// status returns a line of /proc/self/status in MB.
func status(t *testing.T, name string) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	t.Fatalf("no %s", name)
	return 0
}
