package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"forebay/node/config"
)

// duration is the value of a flag: a time.Duration that may be typed in days.
type duration time.Duration

func (d *duration) String() string {
	if *d == 0 {
		return "0" // a flag's help names no default that is 0
	}
	return time.Duration(*d).String()
}

func (d *duration) Type() string { return "duration" }

func (d *duration) Set(text string) error {
	v, err := config.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q: want a duration such as 90s, 10m, 2h or 7d", text)
	}
	*d = duration(v)
	return nil
}

// durationVar defines a flag for a duration.
func durationVar(flags *pflag.FlagSet, p *time.Duration, name string, value time.Duration, usage string) {
	*p = value
	flags.Var((*duration)(p), name, usage)
}
