package io.dsmstt.examples;

import io.dsmstt.DsmSttClient;
import io.dsmstt.DsmSttException;
import io.dsmstt.Word;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Sends a recording and prints its words. */
public final class Transcribe {
  private static final String USAGE =
      """
      Usage: Transcribe [--server HOST:PORT] [--tls | --ca-file FILE] RECORDING

      Prints the words of a WAV, FLAC, MP3 or Ogg Opus file.

        --server HOST:PORT  the service; 127.0.0.1:50051 without
        --tls               use TLS, and trust the authorities of the Java runtime
        --ca-file FILE      use TLS, and trust the authorities in this PEM file

      The API key, if the service wants one, is taken from DSM_API_KEY.
      """;

  private Transcribe() {}

  /** Runs the program. */
  public static void main(String[] args) throws IOException {
    Arguments arguments = Arguments.parse(args, USAGE);
    try (DsmSttClient client = arguments.client()) {
      for (Word word : client.recognize(Files.readAllBytes(Path.of(arguments.recording()))).words()) {
        System.out.printf(Locale.ROOT, "%6.2f  %s%n", word.start().toMillis() / 1000.0, word.text());
      }
    } catch (DsmSttException failure) {
      System.err.println(failure);
      System.exit(1);
    }
  }
}
