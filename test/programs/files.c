#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <dirent.h>
#define CK(x) do{ if(!(x)) {printf("FAIL line %d: %s errno=%d %s\n",__LINE__,#x,errno,strerror(errno)); fails++;} }while(0)
int fails;
static unsigned seed=1; static unsigned rnd(){seed^=seed<<13;seed^=seed>>17;seed^=seed<<5;return seed;}
int main(int argc,char**argv){
  const char*base=argc>1?argv[1]:"/data"; char p[256],q[256]; struct stat st;
  #define P(n) (sprintf(p,"%s/%s",base,n),p)
  #define Q(n) (sprintf(q,"%s/%s",base,n),q)
  CK(mkdir(P("dir"),0755)==0); CK(mkdir(P("dir"),0755)<0&&errno==EEXIST);
  FILE*f=fopen(P("dir/a.txt"),"w"); CK(f!=0); fprintf(f,"hello disk\n"); CK(fclose(f)==0);
  CK(stat(P("dir/a.txt"),&st)==0&&st.st_size==11);
  CK(rename(P("dir/a.txt"),Q("dir/b.txt"))==0); CK(stat(P("dir/a.txt"),&st)<0&&errno==ENOENT);
  CK(link(P("dir/b.txt"),Q("hard"))==0); CK(stat(P("hard"),&st)==0&&st.st_nlink==2);
  CK(symlink("dir/b.txt",P("soft"))==0); f=fopen(P("soft"),"r"); CK(f!=0); char l[64]; CK(f&&fgets(l,64,f)&&!strcmp(l,"hello disk\n")); if(f)fclose(f);
  CK(rmdir(P("dir"))<0&&errno==ENOTEMPTY);
  for(int i=0;i<300;i++){char n[64];sprintf(n,"dir/file-with-a-longer-name-%d",i);f=fopen(P(n),"w");CK(f!=0);if(f){fprintf(f,"%d",i);fclose(f);}}
  int c=0; DIR*d=opendir(P("dir")); struct dirent*e; while((e=readdir(d)))c++; closedir(d); CK(c==303); 
  for(int i=0;i<300;i+=2){char n[64];sprintf(n,"dir/file-with-a-longer-name-%d",i);CK(unlink(P(n))==0);}
  CK(mkdir(P("dir/sub"),0755)==0); CK(rename(P("dir/sub"),Q("moved"))==0); CK(rename(P("dir"),Q("dir/x"))<0&&errno==EINVAL);
  int N=24<<20; unsigned char*buf=malloc(1<<20),*ref=malloc(1<<20);
  int fd=open(P("big"),O_CREAT|O_RDWR|O_TRUNC,0644); CK(fd>=0);
  for(int o=0;o<N;o+=1<<20){for(int i=0;i<1<<20;i+=4)*(unsigned*)(buf+i)=rnd();CK(write(fd,buf,1<<20)==1<<20);}
  CK(fsync(fd)==0); CK(lseek(fd,0,SEEK_SET)==0); seed=1;
  for(int o=0;o<N;o+=1<<20){for(int i=0;i<1<<20;i+=4)*(unsigned*)(ref+i)=rnd();int n=read(fd,buf,1<<20);CK(n==1<<20);CK(!memcmp(buf,ref,1<<20));}
  CK(ftruncate(fd,5000)==0); CK(fstat(fd,&st)==0&&st.st_size==5000);
  CK(pwrite(fd,"end",3,3000000)==3); CK(pread(fd,l,3,2999999)==3&&l[0]==0&&l[1]=='e');
  CK(pread(fd,l,4,4999)==4); CK(l[1]==0);
  CK(unlink(P("big"))==0); CK(fstat(fd,&st)==0&&st.st_size==3000003); close(fd);
  fd=open(P("log"),O_CREAT|O_WRONLY|O_APPEND,0644); for(int i=0;i<1000;i++){CK(write(fd,"0123456789",10)==10);} fsync(fd); close(fd); CK(stat(P("log"),&st)==0&&st.st_size==10000);
  f=fopen(P("count"),"r"); int n=0; if(f){fscanf(f,"%d",&n);fclose(f);} f=fopen(P("count"),"w"); fprintf(f,"%d",n+1); fclose(f);
  printf("fs test done, %d failures\n",fails); return fails;
}
