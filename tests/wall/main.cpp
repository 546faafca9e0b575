// All attacks, linked with no more than they may use: see CMakeLists.txt.
int main() {}
