/* Runs a SavedModel by TensorFlow's C API, with no Python: one batch of files, or of floats, and prints its outputs.

   saved_model EXPORT INPUT_TENSOR OUTPUT_TENSOR... -- strings FILE...
   saved_model EXPORT INPUT_TENSOR OUTPUT_TENSOR... -- floats DIMENSION,DIMENSION,... FILE

   A tensor is named as in the signature, OPERATION:NUMBER. Each output is a line: its dimensions, a colon, its values;
   strings are quoted. OP_LIBRARY in the environment names a file with further operations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void check(TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s\n", TF_Message(status));
    exit(1);
  }
}

static char *content(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) { perror(path); exit(1); }
  fseek(file, 0, SEEK_END);
  *size = ftell(file);
  rewind(file);
  char *bytes = malloc(*size + 1);
  if (fread(bytes, 1, *size, file) != *size) { perror(path); exit(1); }
  fclose(file);
  return bytes;
}

static TF_Output place(TF_Graph *graph, const char *name) {
  char operation[256];
  const char *colon = strrchr(name, ':');
  snprintf(operation, sizeof operation, "%.*s", (int)(colon - name), name);
  TF_Output output = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  if (!output.oper) { fprintf(stderr, "no operation %s\n", operation); exit(1); }
  return output;
}

static void print(TF_Tensor *tensor) {
  int64_t count = 1;
  for (int axis = 0; axis < TF_NumDims(tensor); axis++) {
    count *= TF_Dim(tensor, axis);
    printf("%s%lld", axis ? "," : "", (long long)TF_Dim(tensor, axis));
  }
  printf(":");
  for (int64_t number = 0; number < count; number++) {
    if (TF_TensorType(tensor) == TF_STRING) {
      const TF_TString *text = (const TF_TString *)TF_TensorData(tensor) + number;
      printf(" \"%.*s\"", (int)TF_TString_GetSize(text), TF_TString_GetDataPointer(text));
    } else {
      printf(" %.9g", ((const float *)TF_TensorData(tensor))[number]);
    }
  }
  printf("\n");
}

int main(int count, char **arguments) {
  int dashes = 3;
  while (dashes < count && strcmp(arguments[dashes], "--")) dashes++;
  TF_Status *status = TF_NewStatus();
  if (getenv("OP_LIBRARY")) {
    TF_LoadLibrary(getenv("OP_LIBRARY"), status);
    check(status);
  }
  TF_Graph *graph = TF_NewGraph();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), NULL, arguments[1], tags, 1, graph, NULL,
                                                     status);
  check(status);
  TF_Output input = place(graph, arguments[2]);
  int results = dashes - 3;
  TF_Output outputs[16];
  TF_Tensor *made[16] = {0};
  for (int number = 0; number < results; number++) outputs[number] = place(graph, arguments[3 + number]);
  TF_Tensor *given;
  if (!strcmp(arguments[dashes + 1], "strings")) {
    int64_t rows = count - dashes - 2;
    given = TF_AllocateTensor(TF_STRING, &rows, 1, rows * sizeof(TF_TString));
    TF_TString *texts = TF_TensorData(given);
    for (int64_t row = 0; row < rows; row++) {
      size_t size;
      char *bytes = content(arguments[dashes + 2 + row], &size);
      TF_TString_Init(&texts[row]);
      TF_TString_Copy(&texts[row], bytes, size);
      free(bytes);
    }
  } else {
    int64_t dimensions[8];
    int axes = 0;
    for (char *part = strtok(arguments[dashes + 2], ","); part; part = strtok(NULL, ",")) dimensions[axes++] = atoll(part);
    size_t size;
    char *bytes = content(arguments[dashes + 3], &size);
    given = TF_AllocateTensor(TF_FLOAT, dimensions, axes, size);
    memcpy(TF_TensorData(given), bytes, size);
    free(bytes);
  }
  TF_SessionRun(session, NULL, &input, &given, 1, outputs, made, results, NULL, 0, NULL, status);
  check(status);
  for (int number = 0; number < results; number++) print(made[number]);
  return 0;
}
