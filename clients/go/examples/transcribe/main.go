// Transcribe sends a recording and prints its words.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	dsmstt "github.com/dsm-stt/dsm-stt/clients/go"
)

func main() {
	server := flag.String("server", "127.0.0.1:50051", "host:port of the service")
	caFile := flag.String("ca-file", "", "use TLS, and trust the authorities in this PEM file")
	useTLS := flag.Bool("tls", false, "use TLS, and trust the system's authorities")
	model := flag.String("model", "", "the model; empty for the service's default")
	timeout := flag.Duration("timeout", time.Minute, "give up after this")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: transcribe [flags] RECORDING\n\n"+
			"Prints the words of a WAV, FLAC, MP3 or Ogg Opus file. The API key, if the service wants one, is taken from\n"+
			"DSM_API_KEY.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	options := []dsmstt.Option{dsmstt.WithAPIKey(os.Getenv("DSM_API_KEY"))}
	if *useTLS {
		options = append(options, dsmstt.WithTLS())
	}
	if *caFile != "" {
		options = append(options, dsmstt.WithCAFile(*caFile))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := transcribe(ctx, *server, flag.Arg(0), *model, options); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func transcribe(ctx context.Context, server, path, model string, options []dsmstt.Option) error {
	audio, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	client, err := dsmstt.NewClient(server, options...)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	transcript, err := client.Recognize(ctx, audio, dsmstt.RecognizeConfig{Model: model})
	if err != nil {
		return err
	}
	for _, word := range transcript.Words {
		fmt.Printf("%6.2f  %s\n", word.Start.Seconds(), word.Text)
	}
	return nil
}
