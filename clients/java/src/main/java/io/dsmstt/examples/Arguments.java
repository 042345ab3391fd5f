package io.dsmstt.examples;

import io.dsmstt.DsmSttClient;
import java.io.File;
import java.io.IOException;

/** The command line of the examples. */
record Arguments(String server, boolean tls, String caFile, int rate, String recording) {
  /** Ends the program with the usage for --help or whatever cannot be understood. */
  static Arguments parse(String[] args, String usage) {
    String server = "127.0.0.1:50051";
    boolean tls = false;
    String caFile = null;
    int rate = 16_000;
    String recording = null;
    for (int index = 0; index < args.length; index++) {
      boolean valued = args[index].matches("--(server|ca-file|rate)");
      if (valued && index + 1 == args.length) {
        exit(usage, 2);
      }
      switch (args[index]) {
        case "--help", "-h" -> exit(usage, 0);
        case "--tls" -> tls = true;
        case "--server" -> server = args[++index];
        case "--ca-file" -> caFile = args[++index];
        case "--rate" -> rate = Integer.parseInt(args[++index]);
        default -> {
          if (recording != null || args[index].startsWith("--")) {
            exit(usage, 2);
          }
          recording = args[index];
        }
      }
    }
    if (recording == null) {
      exit(usage, 2);
    }
    return new Arguments(server, tls, caFile, rate, recording);
  }

  DsmSttClient client() throws IOException {
    DsmSttClient.Builder builder = DsmSttClient.builder(server).apiKey(System.getenv("DSM_API_KEY"));
    if (tls) {
      builder.tls();
    }
    if (caFile != null) {
      builder.caFile(new File(caFile));
    }
    return builder.build();
  }

  private static void exit(String usage, int code) {
    (code == 0 ? System.out : System.err).print(usage);
    System.exit(code);
  }
}
