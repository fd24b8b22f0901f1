// Package benchmark measures what a benchmark's own process uses, for rows of
// the table that `make bench` prints. Its metrics have the names that all
// benchmarks beside a ceiling report:
//
//	ratio          to the ceiling of the same run; 1 is as fast as the ceiling
//	events/s       throughput
//	p50-ms p99-ms  of single operations, where there are such
//	cpu-s/Mevents  processor seconds, user and system, for a million events
//	peak-MB        most memory at any moment
package benchmark

import (
	"runtime/metrics"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sampleEvery is how often memory is read.
const sampleEvery = 5 * time.Millisecond

// Meter adds up the processor time of turns, and keeps the peak of the memory
// that the Go runtime has mapped and not given back.
type Meter struct {
	cpu, took  time.Duration
	peak       uint64
	begun      time.Time
	cpuAtBegin time.Duration
	stop       chan struct{}
	sampling   sync.WaitGroup
}

// Begin starts a turn. End must follow.
func (m *Meter) Begin(tb testing.TB) {
	m.stop = make(chan struct{})
	m.sampling.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			m.peak = max(m.peak, mapped())
			select {
			case <-m.stop:
				return
			case <-tick.C:
			}
		}
	})
	m.cpuAtBegin, m.begun = CPUTime(tb), time.Now()
}

// End ends a turn and returns how long it took.
func (m *Meter) End(tb testing.TB) time.Duration {
	took := time.Since(m.begun)
	m.took, m.cpu = m.took+took, m.cpu+CPUTime(tb)-m.cpuAtBegin
	close(m.stop)
	m.sampling.Wait()
	return took
}

// CPU is the processor time of all turns.
func (m *Meter) CPU() time.Duration { return m.cpu }

// Report tells the benchmark's figures for so many events in all turns.
func (m *Meter) Report(b *testing.B, events float64) {
	b.ReportMetric(events/m.took.Seconds(), "events/s")
	b.ReportMetric(m.cpu.Seconds()/events*1e6, "cpu-s/Mevents")
	b.ReportMetric(float64(m.peak)/(1<<20), "peak-MB")
}

func mapped() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// CPUTime is the processor time, user and system, that this process has used.
func CPUTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
